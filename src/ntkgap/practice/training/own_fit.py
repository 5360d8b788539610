"""A user's own training function at the extreme: called once, with everything it may change put back."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ntkgap.data import Dataset
from ntkgap.errors import NtkgapError, StudyError
from ntkgap.practice.training.losses import name_of
from ntkgap.practice.training.network_modes import training_mode

Fit = Callable[[nn.Module, Dataset, int], Any]
"""Trains a network in place on a data set, with a seed; returns None."""


def call_fit(fit: Fit, model: nn.Module, data: Dataset, seed: int) -> None:
    """Let a function train a network in place.

    The network comes in train mode. The random generators of torch, NumPy and Python begin at the seed, and are
    afterwards where they were; so are the network's train and eval flags. Gradients are dropped.

    Args:
        fit: ``(model, data, seed) -> None``.
        model: changed in place.
        data: what it is trained on.
        seed: below 2³².

    Raises:
        StudyError: if the function raises, returns another network, or changes no parameter.
    """
    if not callable(fit):
        raise StudyError(f"fit must be a function (model, data, seed) -> None, got {fit!r}")
    before = [p.detach().clone() for p in model.parameters()]
    try:
        with random_state_kept(seed), training_mode(model), torch.enable_grad():
            found = fit(model, data, seed)
    except NtkgapError:
        raise
    except Exception as error:
        raise StudyError(f"fit={name_of(fit)} raised {type(error).__name__}: {error}") from error
    finally:
        for p in model.parameters():
            p.grad = None
    if isinstance(found, nn.Module) and found is not model:
        raise StudyError(f"fit={name_of(fit)} returned another network; train the one that it is given, in place")
    if all(p.detach().equal(start) for p, start in zip(model.parameters(), before, strict=True)):
        raise StudyError(f"fit={name_of(fit)} changed no parameter; train the network that it is given, in place")


def refuse_beside_fit(**settings: Any) -> None:
    """Refuse settings of training, which a training function would not see.

    Raises:
        StudyError: naming them.
    """
    given = [name for name, value in settings.items() if value]
    if given:
        raise StudyError(
            f"fit= trains in its own way and would not see {', '.join(given)}; leave out one or the other"
        )


@contextmanager
def random_state_kept(seed: int) -> Iterator[None]:
    """The generators of the process begin at a seed, and are afterwards where they were."""
    before = random.getstate(), np.random.get_state()  # noqa: NPY002  # a user's code may draw from it
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


def finite(model: nn.Module) -> bool:
    """Whether all parameters are."""
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())
