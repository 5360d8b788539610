"""From a data set to the bandit that is made of it."""

from typing import Literal, get_args

from ntkgap.data import Dataset
from ntkgap.errors import DataError
from ntkgap.practice.bandits.classification import classification_environment
from ntkgap.practice.bandits.environment import Encoding, Environment
from ntkgap.practice.bandits.wheel import wheel_environment

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
