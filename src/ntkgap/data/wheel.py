"""The wheel: contexts in a disc, and what five arms pay there on average."""

import numpy as np
import torch

from ntkgap.data.dataset import Dataset
from ntkgap.data.sampling import check_sizes
from ntkgap.errors import DataError

WHEEL_VARIANTS = ("paper", "released")
WHEEL_ARMS = 5
LARGE, MEDIUM, SMALL = 50.0, 1.2, 1.0


def wheel(
    n_train: int = 256,
    n_test: int = 512,
    seed: int = 0,
    *,
    delta: float = 0.5,
    variant: str = "paper",
) -> tuple[Dataset, Dataset]:
    """Draw contexts uniformly from the unit disc, with the expected reward of each arm of the wheel bandit.

    Arms 1 to 4 pay 1.0 and arm 5 pays 1.2 where ‖x‖ ≤ δ. Outside, one arm pays 50: arm 1 where both coordinates
    are positive, 2 where only the first is, 3 where only the second is, 4 where neither is; the others of arms
    1 to 4 pay 1.0 there. Published twice: in the paper arm 5 pays 1.0 outside, in the released code it keeps 1.2.
    Rewards are these means and noise, see ``ntkgap.practice.bandits.wheel_environment``.

    Args:
        n_train: number of training examples, the rounds of a bandit.
        n_test: number of test examples.
        seed: the same seed gives the same draw.
        delta: radius δ inside which arm 5 is best, strictly between 0 and 1: a fraction δ² of all contexts.
        variant: ``"paper"`` or ``"released"``.

    Returns:
        Training and test set with x [n, 2] and y [n, 5], the expected rewards, float32.

    Raises:
        DataError: if a size or an option is out of range.

    Source:
        Riquelme, Tucker, Snoek (2018), Deep Bayesian bandits showdown, and its released code.
    """
    check_sizes(n_train, n_test, 2 + WHEEL_ARMS)
    if isinstance(delta, bool) or not isinstance(delta, int | float) or not 0 < delta < 1:
        raise DataError(f"delta must be a number between 0 and 1, got {delta!r}")
    if variant not in WHEEL_VARIANTS:
        raise DataError(f"unknown variant {variant!r} of the wheel; choose 'paper' or 'released'")
    rng = np.random.default_rng(seed)
    n = n_train + n_test
    radius, angle = np.sqrt(rng.random(n)), 2 * np.pi * rng.random(n)
    x = (radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.float32)
    outside = np.linalg.norm(x, axis=1) > delta
    means = np.full((n, WHEEL_ARMS), SMALL, dtype=np.float32)
    means[:, -1] = np.where(outside & (variant == "paper"), SMALL, MEDIUM)
    quadrant = 2 * (x[:, 0] <= 0) + (x[:, 1] <= 0)
    means[outside, quadrant[outside]] = LARGE
    x_all, y_all = torch.as_tensor(x), torch.as_tensor(means)
    return Dataset(x_all[:n_train], y_all[:n_train]), Dataset(x_all[n_train:], y_all[n_train:])
