"""The wheel bandit: a large reward that only those find who go on looking."""

import torch

from ntkgap.data import Dataset
from ntkgap.data.wheel import LARGE, MEDIUM, SMALL, WHEEL_ARMS
from ntkgap.errors import DataError
from ntkgap.practice.bandits.environment import Encoding, Environment

# Standard deviations of rewards: ordinary ones, and the large one.
NOISE = {"paper": (0.01, 0.01), "released": (0.05, 0.01)}
# What arm 5 pays on average outside of δ, where the two variants differ in their means.
FIFTH_OUTSIDE = {"paper": SMALL, "released": MEDIUM}


def wheel_environment(
    dataset: Dataset, variant: str = "paper", *, encoding: Encoding = "disjoint", seed: int = 0
) -> Environment:
    """Rewards r ~ N(mean, σ²) of the wheel's arms.

    σ is 0.01 in the paper; in the released code it is 0.05, and 0.01 for the reward of 50.

    Args:
        dataset: contexts [T, 2] and expected rewards [T, 5], from ``load_data("wheel", …)``.
        variant: ``"paper"`` or ``"released"``, the same as that of the data.
        encoding: how a network is asked about the arms, see ``Environment``.
        seed: of the noise.

    Raises:
        DataError: if these are no data of a wheel or those of its other variant, or the variant is unknown.

    Source:
        Riquelme, Tucker, Snoek (2018), Deep Bayesian bandits showdown, and its released code.
    """
    if variant not in NOISE:
        raise DataError(f"unknown variant {variant!r} of the wheel; choose 'paper' or 'released'")
    if dataset.n_classes is not None or dataset.n_outputs != WHEEL_ARMS:
        raise DataError(
            f"the wheel has {WHEEL_ARMS} columns of expected rewards and no classes; got {dataset.n_outputs} "
            f"columns and {dataset.n_classes} classes; use load_data('wheel', ...)"
        )
    _check_fifth_arm(dataset, variant)
    ordinary, large = NOISE[variant]
    generator = torch.Generator().manual_seed(seed)
    std = torch.where(dataset.y == LARGE, large, ordinary)
    noise = std * torch.randn(dataset.y.shape, dtype=dataset.y.dtype, generator=generator)
    return Environment(dataset.x.flatten(1), dataset.y, dataset.y + noise, encoding)


def _check_fifth_arm(dataset: Dataset, variant: str) -> None:
    """Refuse means of one variant under the noise of the other: a game that nobody published.

    Contexts outside of δ are those where some arm pays 50. Without any, both variants have the same means.
    """
    fifth = dataset.y[(dataset.y == LARGE).any(dim=1), -1]
    wrong = fifth[(fifth - FIFTH_OUTSIDE[variant]).abs() > (MEDIUM - SMALL) / 2]
    if len(wrong):
        raise DataError(
            f"variant {variant!r} of the wheel pays {FIFTH_OUTSIDE[variant]} for arm 5 outside of delta, but "
            f"these data have {float(wrong[0]):.3g} there: load them with load_data('wheel', ..., "
            f"variant={variant!r}), or play them with the rewards of the variant that they were loaded with"
        )
