"""Synthetic data on the unit sphere: the setting of the convergence theorems."""

import numpy as np
import torch

from ntkgap.data.dataset import Dataset
from ntkgap.data.sampling import check_sizes
from ntkgap.errors import DataError

TEACHER_UNITS = 8


def sphere(
    n_train: int = 256,
    n_test: int = 512,
    seed: int = 0,
    *,
    dim: int = 32,
    targets: str = "random",
) -> tuple[Dataset, Dataset]:
    r"""Draw inputs uniformly from the unit sphere of R^dim, with random or teacher targets.

    Random targets are y ~ N(0, 1), as in the synthetic experiment of Zhang, Martens, Grosse (2019).
    The teacher is a small ReLU network, :math:`y = \sqrt{2/k} \sum_j a_j\, \mathrm{relu}(\sqrt d\, v_j^\top x)`
    with unit vectors v_j, a_j = ±1 and k = 8, which gives learnable targets of mean square about 1.

    Args:
        n_train: number of training examples.
        n_test: number of test examples.
        seed: the same seed gives the same draw.
        dim: number of input features d, at least 2.
        targets: ``"random"`` or ``"teacher"``.

    Returns:
        Training and test set with x [n, dim] of unit norm and y [n, 1], float32.

    Raises:
        DataError: if a size or an option is out of range.
    """
    if isinstance(dim, bool) or not isinstance(dim, int) or dim < 2:
        raise DataError(f"dim must be an integer of at least 2, got {dim!r}")
    check_sizes(n_train, n_test, dim + 1)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_train + n_test, dim))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    if targets == "random":
        y = rng.standard_normal((n_train + n_test, 1))
    elif targets == "teacher":
        directions = rng.standard_normal((dim, TEACHER_UNITS))
        directions /= np.linalg.norm(directions, axis=0)
        signs = rng.choice([-1.0, 1.0], size=(TEACHER_UNITS, 1))
        y = np.sqrt(2 / TEACHER_UNITS) * np.maximum(np.sqrt(dim) * x @ directions, 0) @ signs
    else:
        raise DataError(f"unknown targets {targets!r} for the sphere; choose 'random' or 'teacher'")
    x_all, y_all = (torch.as_tensor(a, dtype=torch.float32) for a in (x, y))
    return Dataset(x_all[:n_train], y_all[:n_train]), Dataset(x_all[n_train:], y_all[n_train:])
