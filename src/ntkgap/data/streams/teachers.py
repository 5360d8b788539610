"""Regressions on the sphere whose targets drift away from each other at a chosen pace."""

import math

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.special import gammaln
from torch import Tensor

from ntkgap.data.dataset import Dataset
from ntkgap.data.limits import check_bytes
from ntkgap.data.streams.pool import check_count, check_number
from ntkgap.data.streams.stream import Task, TaskStream
from ntkgap.errors import DataError

HIDDEN = 16


def teachers(
    data: str = "sphere",
    n_train: int = 100,
    n_test: int = 100,
    seed: int = 0,
    *,
    tasks: int = 5,
    similarity: float = 0.5,
    dim: int = 10,
    noise: float = 0.0,
    same_inputs: bool = False,
) -> TaskStream:
    r"""Task t is to learn :math:`f_t(x) = a_t^\top z(x)` on inputs of the unit sphere.

    All teachers share their random ReLU features z, which have mean 0 and covariance I over the sphere (see
    ``white_features``). The readouts are unit vectors, :math:`a_{t+1} = \rho a_t + \sqrt{1 - \rho^2}\, b_t` with
    b_t in a random direction orthogonal to a_t. So every f_t has mean 0 and variance 1, and two in a row have the
    correlation ρ, over inputs that are uniform on the sphere.

    Args:
        data: ``"sphere"``, the only one.
        n_train: training inputs a task.
        n_test: test inputs a task.
        seed: of all draws.
        tasks: T.
        similarity: ρ from −1 to 1; 1 makes all tasks alike.
        dim: of the inputs.
        noise: standard deviation of what is added to the training targets.
        same_inputs: whether all tasks have the same inputs; else each has its own.

    Raises:
        DataError: if a number is out of range.
    """
    if data != "sphere":
        got = repr(data) if isinstance(data, str) else type(data).__name__
        raise DataError(f"teachers draw their inputs on the 'sphere'; got {got}")
    for name, value, least in (
        ("tasks", tasks, 2),
        ("n_train", n_train, 1),
        ("n_test", n_test, 2),
        ("dim", dim, 2),
    ):
        check_count(name, value, least)
    # Every task has its own targets; its features are more numbers than those.
    check_bytes("these tasks", 8 * tasks * (n_train + n_test) * (dim + HIDDEN))
    check_number("similarity", similarity, -1, 1, "the correlation of two tasks in a row")
    check_number("noise", noise, 0, 1e6, "the standard deviation of the noise")
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((HIDDEN, dim))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    readout = rng.standard_normal(HIDDEN)
    readout /= np.linalg.norm(readout)
    found: list[Task] = []
    for t in range(tasks):
        if t:
            aside = rng.standard_normal(HIDDEN)
            aside -= (aside @ readout) * readout
            readout = similarity * readout + math.sqrt(1 - similarity**2) * aside / np.linalg.norm(aside)
        sets: list[Dataset] = []
        for n, error in ((n_train, noise), (n_test, 0.0)):
            x = rng.standard_normal((n, dim))
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            if found and same_inputs:
                x = (found[0].train if n == n_train and not sets else found[0].test).x.double().numpy()
            y = white_features(x, directions) @ readout + error * rng.standard_normal(n)
            sets.append(Dataset(_tensor(x), _tensor(y[:, None])))
        found.append(Task(f"teacher {t + 1}", sets[0], sets[1], (0,)))
    return TaskStream("teachers", tuple(found))


def white_features(x: np.ndarray, directions: np.ndarray) -> np.ndarray:
    r"""ReLU features of points on the sphere, made uncorrelated, of mean 0 and variance 1.

    For unit vectors v_i, v_j at the angle θ and x uniform on the unit sphere of R^d,

    .. math:: E[\sigma(v_i^\top x)] = \frac{\Gamma(d/2)}{2 \sqrt\pi\, \Gamma((d+1)/2)}, \qquad
              E[\sigma(v_i^\top x)\, \sigma(v_j^\top x)]
              = \frac{\sin\theta + (\pi - \theta) \cos\theta}{2 \pi d}

    (Cho, Saul, *Kernel methods for deep learning*, 2009: a Gaussian vector is a point of the sphere times an
    independent length of mean square d.) With L the Cholesky factor of the covariance, z = L⁻¹(σ − E σ).

    Args:
        x: points, [n, d].
        directions: unit vectors v, [h, d].

    Returns:
        Features z, [n, h].
    """
    dim = x.shape[1]
    mean = math.exp(gammaln(dim / 2) - gammaln((dim + 1) / 2)) / (2 * math.sqrt(math.pi))
    cosine = np.clip(directions @ directions.T, -1, 1)
    angle = np.arccos(cosine)
    moments = (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi * dim)
    factor = np.linalg.cholesky(moments - mean**2)
    return solve_triangular(factor, (np.maximum(x @ directions.T, 0) - mean).T, lower=True).T


def _tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
