r"""Regressions in sequence, whose teachers turn by an angle from one task to the next."""

import math

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from ntkgap.data.dataset import Dataset, check_flag
from ntkgap.data.sampling import check_sizes
from ntkgap.data.streams.options import check_count, check_number
from ntkgap.data.streams.stream import Task, TaskStream
from ntkgap.errors import DataError

HIDDEN_UNITS = 16


def regressions(
    n_train: int = 100,
    n_test: int = 300,
    seed: int = 0,
    *,
    tasks: int = 5,
    angle: float = 45.0,
    dim: int = 10,
    teacher: str = "linear",
    noise: float = 0.0,
    same_inputs: bool = False,
) -> TaskStream:
    r"""Tasks that learn functions f_t on the unit sphere of R^dim, each correlated with the one before by cos φ.

    With features z of mean 0 and covariance I over the sphere, and unit vectors a_t,

    .. math:: f_t(x) = a_t^\top z(x), \qquad a_t = \cos\varphi\, a_{t-1} + \sin\varphi\, b_t,

    with b_t a random unit vector orthogonal to a_{t−1}. Over inputs that are uniform on the sphere each f_t
    has mean 0 and variance 1, and f_t and f_{t−1} have the correlation cos φ.

    Args:
        n_train: number of training examples of one task.
        n_test: number of test examples, the same inputs for all tasks.
        seed: the same seed gives the same stream.
        tasks: T.
        angle: φ in degrees, from 0 (all tasks ask for one function) to 180 (each for the opposite of the last).
        dim: number of input features, at least 2.
        teacher: ``"linear"`` (z = √dim x) or ``"relu"`` (z from 16 hidden units in random directions).
        noise: standard deviation of what is added to training targets; test targets have none.
        same_inputs: whether all tasks have the training inputs of the first; if not, each has its own.

    Raises:
        DataError: if a number is out of range, or an option is unknown.
    """
    check_sizes(n_train, n_test)
    check_count("tasks", tasks, 2)
    check_number("angle", angle, 0, 180)
    check_count("dim", dim, 2)
    check_number("noise", noise, 0)
    check_flag("same_inputs", same_inputs)
    rng = np.random.default_rng(seed)
    if teacher == "relu":
        directions = _sphere(HIDDEN_UNITS, dim, rng)
    elif teacher != "linear":
        raise DataError(f"unknown teacher {teacher!r}; choose 'linear' or 'relu'")
    x_train, x_test = _sphere(n_train, dim, rng), _sphere(n_test, dim, rng)
    weights = _sphere(1, dim if teacher == "linear" else HIDDEN_UNITS, rng)[0]
    made = []
    for t in range(tasks):
        if t:
            weights = _turn(weights, math.radians(angle), rng)
            x_train = x_train if same_inputs else _sphere(n_train, dim, rng)
        y_train, y_test = (
            (math.sqrt(dim) * x if teacher == "linear" else whitened_relu(x, directions)) @ weights
            for x in (x_train, x_test)
        )
        y_train = y_train + noise * rng.standard_normal(n_train)
        made.append(Task(f"function {t}", _dataset(x_train, y_train), _dataset(x_test, y_test), (0,)))
    return TaskStream("regressions", tuple(made))


def whitened_relu(x: np.ndarray, directions: np.ndarray) -> np.ndarray:
    r"""ReLU features of points on the sphere, made uncorrelated, of mean 0 and variance 1.

    For unit vectors v_i, v_j at the angle θ and x uniform on the sphere of R^d,

    .. math:: E[\sigma(v_i^\top x)] = \frac{\Gamma(d/2)}{2 \sqrt\pi\, \Gamma((d+1)/2)}, \qquad
              E[\sigma(v_i^\top x)\, \sigma(v_j^\top x)]
              = \frac{\sin\theta + (\pi - \theta) \cos\theta}{2 \pi d}

    (Cho, Saul, *Kernel methods for deep learning*, 2009: a Gaussian vector is a point of the sphere times an
    independent length of mean square d.) With L the Cholesky factor of the covariance, z = L⁻¹(σ − E σ).

    Args:
        x: points, [n, d].
        directions: unit vectors v, [k, d].

    Returns:
        Features z, [n, k].
    """
    dim = x.shape[1]
    mean = math.exp(gammaln(dim / 2) - gammaln((dim + 1) / 2)) / (2 * math.sqrt(math.pi))
    cosine = np.clip(directions @ directions.T, -1, 1)
    angle = np.arccos(cosine)
    moments = (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi * dim)
    factor = np.linalg.cholesky(moments - mean**2)
    return solve_triangular(factor, (np.maximum(x @ directions.T, 0) - mean).T, lower=True).T


def _turn(weights: np.ndarray, angle: float, rng: np.random.Generator) -> np.ndarray:
    """A unit vector at an angle to another, in a random direction."""
    aside = rng.standard_normal(len(weights))
    aside -= (aside @ weights) * weights
    turned = math.cos(angle) * weights + math.sin(angle) * aside / np.linalg.norm(aside)
    return turned / np.linalg.norm(turned)


def _sphere(n: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    points = rng.standard_normal((n, dim))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _dataset(x: np.ndarray, y: np.ndarray) -> Dataset:
    return Dataset(torch.as_tensor(x).float(), torch.as_tensor(y[:, None]).float())
