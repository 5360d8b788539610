"""From a data set to the bandit that is made of it: the wheel, classes and mushrooms."""

from typing import Literal, get_args

import torch
from torch import Tensor

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


SAFE, POISONED, RISK = 5.0, -35.0, 0.5


def classification_environment(
    dataset: Dataset,
    reward: Literal["class", "mushroom"] = "class",
    *,
    encoding: Encoding = "disjoint",
    seed: int = 0,
) -> Environment:
    """A bandit whose contexts are a data set's examples, in random order.

    The order is drawn anew because data sets deal out their classes in turn. Rewards:

    * ``"class"``: an arm for each class; the right one pays 1, the others 0 (Zhou, Li, Gu 2020).
    * ``"mushroom"``: class 0 is edible, class 1 poisonous. Arm 0 leaves the mushroom and pays 0; arm 1 eats it and
      pays 5 if it is edible, else −35 or 5 with equal chances, −15 on average (Riquelme, Tucker, Snoek 2018).

    Args:
        dataset: of classes; its length is the number of rounds T. Images are flattened.
        reward: what arms pay.
        encoding: how a network is asked about the arms, see ``Environment``.
        seed: of the order and of what poisonous mushrooms do.

    Raises:
        DataError: if the data have no classes, or not two for mushrooms' rewards.
    """
    if dataset.n_classes is None:
        raise DataError("a classification bandit needs data with classes, but these are for regression")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(dataset), generator=generator)
    contexts, labels = dataset.x[order].flatten(1), _labels(dataset)[order]
    if reward == "class":
        means = torch.nn.functional.one_hot(labels, dataset.n_classes).to(contexts.dtype)
        return Environment(contexts, means, means, encoding)
    if reward == "mushroom":
        if dataset.n_classes != 2:
            raise DataError(f"rewards of mushrooms are for two classes, these data have {dataset.n_classes}")
        means, rewards = _risky(labels, contexts.dtype, generator)
        return Environment(contexts, means, rewards, encoding)
    raise DataError(f"unknown reward {reward!r}; choose 'class' or 'mushroom'")


def _labels(dataset: Dataset) -> Tensor:
    """Classes [n] from one column a class, or from one column of signs."""
    if dataset.n_outputs == 1:
        return (dataset.y[:, 0] > 0).long()
    return dataset.y.argmax(dim=1)


def _risky(labels: Tensor, dtype: torch.dtype, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Expected and drawn rewards, each [T, 2], of leaving and eating mushrooms that are poisonous where 1."""
    poisonous = labels == 1
    strikes = torch.rand(len(labels), generator=generator) < RISK
    expected = torch.where(poisonous, RISK * POISONED + (1 - RISK) * SAFE, SAFE)
    drawn = torch.where(poisonous & strikes, POISONED, SAFE)
    leave = torch.zeros(len(labels))
    return torch.stack([leave, expected], dim=1).to(dtype), torch.stack([leave, drawn], dim=1).to(dtype)


Rewards = Literal["class", "mushroom", "wheel_paper", "wheel_released"]
Features = Literal["raw", "unit_norm", "lifted"]


def make_environment(
    dataset: Dataset,
    rewards: Rewards = "class",
    *,
    features: Features = "raw",
    encoding: Encoding = "disjoint",
    reward_unit: float = 1.0,
    seed: int = 0,
) -> Environment:
    """The bandit of a data set, one round an example.

    Args:
        dataset: with classes, or of the wheel.
        rewards: ``"class"`` or ``"mushroom"`` (see ``classification_environment``), ``"wheel_paper"`` or
            ``"wheel_released"`` (see ``wheel_environment``).
        features: contexts as they are (``"raw"``), divided by their norms (``"unit_norm"``), or put on a sphere of
            one more dimension (``"lifted"``).
        encoding: how a network is asked about the arms, see ``Environment``.
        reward_unit: what counts as a reward of 1; rewards are divided by it.
        seed: of the order of rounds and of the noise.

    Raises:
        DataError: if an option is unknown, or the data do not suit the rewards or the features.
    """
    if rewards not in get_args(Rewards):
        raise DataError(f"unknown rewards {rewards!r}; choose one of {', '.join(get_args(Rewards))}")
    if features not in get_args(Features):
        raise DataError(f"unknown features {features!r}; choose one of {', '.join(get_args(Features))}")
    if rewards == "class" or rewards == "mushroom":
        environment = classification_environment(dataset, rewards, encoding=encoding, seed=seed)
    else:
        environment = wheel_environment(dataset, rewards.removeprefix("wheel_"), encoding=encoding, seed=seed)
    if features == "unit_norm":
        environment = environment.normalized()
    elif features == "lifted":
        environment = environment.lifted()
    return environment.scaled(reward_unit)
