"""What every way of training refuses: numbers out of range."""

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ntkgap.errors import ModelError, StudyError


def check_training(learning_rate: object, steps: object) -> None:
    """Refuse a learning rate that is not positive and finite, or a negative number of steps.

    Raises:
        StudyError: naming the argument.
    """
    check_learning_rate(learning_rate)
    check_steps(steps)


def check_learning_rate(learning_rate: object) -> None:
    """Refuse a learning rate that is not positive and finite.

    Raises:
        StudyError: naming the argument.
    """
    if not isinstance(learning_rate, Real) or not 0 < float(learning_rate) < float("inf"):
        raise StudyError(f"learning_rate must be positive and finite, got {learning_rate!r}")


def check_steps(steps: object) -> int:
    """The number of steps; refuse what is none.

    Raises:
        StudyError: naming the argument.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise StudyError(f"steps must be an integer of at least 0, got {steps!r}")
    return steps


def check_network(model: object) -> None:
    """Refuse what is no network, or one whose parameters hold no numbers yet.

    Raises:
        ModelError: naming the parameter and the remedy.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"a network is an nn.Module, got {type(model).__name__}")
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise ModelError(f"{name!r} of {type(model).__name__} has no shape yet; call the network once on data")
        if tensor.is_meta:
            raise ModelError(
                f"{name!r} of {type(model).__name__} is on the meta device, which holds no numbers; build the "
                "network on another, or load its weights"
            )


def check_stackable(model: object) -> None:
    """Refuse networks that cannot be run with other parameters than their own, besides those of ``check_network``.

    Raises:
        ModelError: naming the module.
    """
    check_network(model)
    assert isinstance(model, nn.Module)
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{name or type(model).__name__} is compiled to TorchScript, where parameters cannot be replaced; "
                "pass the original network"
            )


def check_momentum(momentum: object) -> None:
    """Refuse a momentum that is not in [0, 1).

    Raises:
        StudyError: naming the argument.
    """
    if not isinstance(momentum, Real) or not 0 <= float(momentum) < 1:
        raise StudyError(f"momentum must be at least 0 and below 1, got {momentum!r}")


def check_weight_decay(weight_decay: object) -> None:
    """Refuse a weight decay that is negative or not finite.

    Raises:
        StudyError: naming the argument.
    """
    if (
        isinstance(weight_decay, bool)
        or not isinstance(weight_decay, Real)
        or not 0 <= float(weight_decay) < float("inf")
    ):
        raise StudyError(f"weight_decay must be finite and at least 0, got {weight_decay!r}")


def check_clip(clip: object) -> None:
    """Refuse a largest norm of the gradient that is not positive; None is none.

    Raises:
        StudyError: naming the argument.
    """
    if clip is not None and (
        isinstance(clip, bool) or not isinstance(clip, Real) or not 0 < float(clip) < float("inf")
    ):
        raise StudyError(f"clip must be positive and finite, the largest norm of the gradient, got {clip!r}")


def check_damping(damping: object) -> None:
    """Refuse a damping that is negative or not finite.

    Raises:
        StudyError: naming the argument.
    """
    if not isinstance(damping, Real) or not 0 <= float(damping) < float("inf"):
        raise StudyError(f"damping must be finite and at least 0, got {damping!r}")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Refuse what is no integer of at least so much.

    Raises:
        StudyError: naming the argument.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise StudyError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_seeds(seeds: object, networks: int) -> list[int]:
    """Integers, one a network.

    Raises:
        StudyError: if they are not.
    """
    given: list[Any] = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    for seed in given:
        if isinstance(seed, bool) or not isinstance(seed, Integral) or not -(2**63) <= int(seed) < 2**64:
            raise StudyError(f"seeds must be integers of 64 bits, one a network, got {seed!r}")
    if len(given) != networks:
        raise StudyError(f"there are {networks} networks but {len(given)} seeds; give one a network")
    return [int(seed) for seed in given]


def rate_of_each(learning_rate: object, phases: int) -> list[Any]:
    """Learning rates, one a phase; a number, also one of numpy or torch, is for all. Values are not checked."""
    if isinstance(learning_rate, Tensor | np.ndarray | np.generic):
        learning_rate = learning_rate.tolist()
    if isinstance(learning_rate, Sequence) and not isinstance(learning_rate, str):
        return [r.item() if isinstance(r, Tensor | np.generic) and r.ndim == 0 else r for r in learning_rate]
    return [learning_rate] * phases
