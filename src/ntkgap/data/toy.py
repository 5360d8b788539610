"""A function of one variable, known on two intervals: the data on which uncertainty is judged by eye."""

import math

import numpy as np
import torch
from torch import Tensor

from ntkgap.data.dataset import Dataset
from ntkgap.data.sampling import check_sizes
from ntkgap.errors import DataError

# Where the function is observed, and how far beyond it is asked for; angles in radians.
INTERVALS = ((-1.7, -0.5), (0.4, 1.6))
REACH = 2.4


def toy(
    n_train: int = 20,
    n_test: int = 61,
    seed: int = 0,
    *,
    noise: float = 0.1,
) -> tuple[Dataset, Dataset]:
    r"""A smooth function of an angle, :math:`y = \sin 2a + a/2 + \varepsilon`, known on two intervals with noise.

    Inputs are angles a on a circle, :math:`x = \sqrt2 (\cos a, \sin a)`: all have the same length, so that the
    prior variance of a network is the same everywhere, and what differs between points is what the data say. The
    training angles are drawn evenly from [−1.7, −0.5] and [0.4, 1.6], in turn; the test angles are an even grid on
    [−2.4, 2.4]: within the data, in the gap, and beyond.

    Args:
        n_train: number of training examples.
        n_test: number of test examples.
        seed: the same seed gives the same draw.
        noise: standard deviation of ε, at least 0; on training and test targets.

    Returns:
        Training and test set with x [n, 2] and y [n, 1], float32.

    Raises:
        DataError: if a size or the noise is out of range.
    """
    check_sizes(n_train, n_test, 3)
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise DataError(f"noise must be finite and at least 0, got {noise!r}")
    rng = np.random.default_rng(seed)
    low, high = np.array(INTERVALS)[np.arange(n_train) % len(INTERVALS)].T
    train, test = _observe(rng.uniform(low, high), noise, rng), _observe(_grid(n_test), noise, rng)
    return train, test


def toy_function(angle: Tensor) -> Tensor:
    """The function without noise, sin 2a + a/2, of angles a of any shape."""
    return (2 * angle).sin() + angle / 2


def toy_angle(x: Tensor) -> Tensor:
    """The angles a of inputs of the toy problem, [n, 2] -> [n]."""
    return torch.atan2(x[:, 1], x[:, 0])


def _grid(n: int) -> np.ndarray:
    return np.linspace(-REACH, REACH, n) if n > 1 else np.zeros(1)


def _observe(angle: np.ndarray, noise: float, rng: np.random.Generator) -> Dataset:
    x = math.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    y = toy_function(torch.as_tensor(angle)) + noise * torch.as_tensor(rng.standard_normal(len(angle)))
    return Dataset(torch.as_tensor(x).float(), y[:, None].float())
