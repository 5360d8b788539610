"""Classification as a bandit: examples arrive one at a time, and only the chosen class is judged."""

from typing import Literal

import torch
from torch import Tensor

from ntkgap.data import Dataset
from ntkgap.errors import DataError
from ntkgap.practice.bandits.environment import Encoding, Environment

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
