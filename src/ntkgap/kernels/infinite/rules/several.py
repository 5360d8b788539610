"""Steps that give several signals, as a recurrent layer does, and how single ones are picked from them."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ntkgap.errors import ModelError
from ntkgap.kernels.infinite.rules.base import Call, Random

# What a step gives: a signal, a stack, or a tuple of these.
Signals = Any
SEVERAL: dict[Any, Callable[[Call], Signals]] = {}


@dataclass(frozen=True)
class Stack:
    """Signals one behind the other along a new first axis, each from a layer of its own."""

    parts: Sequence[Random]


def several(*targets: Any) -> Callable[[Callable[[Call], Signals]], Callable[[Call], Signals]]:
    """Register a rule of module types that give more than one signal."""

    def register(function: Callable[[Call], Signals]) -> Callable[[Call], Signals]:
        SEVERAL.update(dict.fromkeys(targets, function))
        return function

    return register


def find_several(target: Any) -> Callable[[Call], Signals] | None:
    """The rule of a module of one of the registered types, or of a subclass that leaves its forward alone."""
    if not isinstance(target, nn.Module):
        return None
    kinds = (kind for kind in SEVERAL if isinstance(target, kind) and type(target).forward is kind.forward)
    return next((SEVERAL[kind] for kind in kinds), None)


def picked(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: list[Any]) -> Signals | None:
    """What a step picks from several signals; None if it is given none.

    Args:
        target: the step's function, or name of a method.
        args, kwargs: its arguments.
        leaves: the same, those in lists too.

    Raises:
        ModelError: if it does something else with a stack.
    """
    whole = args[0] if args else None
    if isinstance(whole, tuple | list) and target is operator.getitem:
        return whole[args[1]]
    if not any(isinstance(leaf, Stack) for leaf in leaves):
        return None
    if isinstance(whole, Stack) and target is operator.getitem:
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        if isinstance(index[0], int) and all(i == slice(None) or i is Ellipsis for i in index[1:]):
            return whole.parts[index[0]]
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    if target in ("squeeze", torch.squeeze) and dim == 0 and isinstance(whole, Stack) and len(whole.parts) == 1:
        return whole.parts[0]
    name = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
    raise ModelError(
        f"the step {name!r} acts on the last states of all layers of a recurrent network together; pick one by "
        "its number, h_n[-1], and put several side by side with torch.cat"
    )
