"""Learning rates of networks that learn together, each at its own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.checks import rate_of_each
from ntkgap.practice.continual.stopping import KernelTime
from ntkgap.practice.training.updates import Rule


def rules_of(
    learning_rate: Any, networks: int, phases: int, stop: object, **settings: Any
) -> tuple[list[Rule], list[Tensor | None]]:
    """The rule of every phase with η of the first network, and η of each network as a multiple of that, [M].

    Args:
        learning_rate: a number, one a phase, or such a list for every network.
        networks: M.
        phases: P.
        stop: when a phase is left.
        settings: of ``Rule``, but for the learning rate.

    Returns:
        P rules, and P multiples; None where all networks have the same rate.

    Raises:
        StudyError: if there are other numbers of rates, one is out of range, or not each can have its own.
    """
    given = rate_of_each(learning_rate, phases)
    nested = [rates for rates in given if isinstance(rates, Sequence) and not isinstance(rates, str)]
    of_each = [rate_of_each(rates, phases) for rates in given] if nested else [given]
    if nested and (len(nested) < len(given) or len(given) != networks):
        raise StudyError(
            f"there are {networks} networks but {len(nested)} lists of learning rates; give one list a network, "
            "or one for all"
        )
    for rates in of_each:
        if len(rates) != phases:
            raise StudyError(
                f"there are {phases} phases but {len(rates)} learning rates; give one a phase, or one"
            )
    rules = [[Rule(learning_rate=rate, **settings) for rate in rates] for rates in of_each]  # checks every rate
    multiples = [_multiples(rates) for rates in zip(*of_each, strict=True)]
    if any(found is not None for found in multiples):
        _check_own(rules[0][0], stop)
    return rules[0], multiples


def _multiples(rates: Sequence[Any]) -> Tensor | None:
    if all(rate == rates[0] for rate in rates):
        return None
    return torch.tensor([rate / rates[0] for rate in rates], dtype=torch.float64)


def _check_own(rule: Rule, stop: object) -> None:
    """Refuse what a multiple of the gradient does not give: it stands for a multiple of η.

    Raises:
        StudyError: naming it.
    """
    if rule.optimizer not in ("gd", "sgd") or rule.weight_decay or rule.clip is not None:
        raise StudyError(
            "learning rates of each network are for 'gd' and 'sgd' without weight_decay and clip; give one for "
            "all, or train the networks one by one"
        )
    if isinstance(stop, KernelTime):
        raise StudyError(
            "KernelTime takes other numbers of steps where networks have learning rates of their own; stop after "
            "Steps, or train the networks one by one"
        )
