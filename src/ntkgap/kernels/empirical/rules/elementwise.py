"""Parameters that are added, subtracted, multiplied or repeated, and the PReLU."""

from collections.abc import Callable

import torch
from torch import Tensor

from ntkgap.kernels.empirical.factors import Factor, Rows
from ntkgap.kernels.empirical.parts import Part
from ntkgap.kernels.empirical.rules.base import Batch, Call, Rule, named, summed_to


class Sum(Rule):
    """x + p, p + x, x − p, p − x, in place or not, ``alpha`` included."""

    name = "sum"
    _plus = (torch.add, torch.Tensor.add, torch.Tensor.add_)
    _minus = (torch.sub, torch.Tensor.sub, torch.Tensor.sub_)
    functions: tuple[Callable, ...] = _plus + _minus

    def __init__(self, sign: float, functions: tuple) -> None:
        self.sign, self.functions = sign, functions

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Note the sign; the other operand must not be a parameter."""
        given = named(("input", "other"), args, kwargs)
        first, second = given["input"], given["other"]
        if not isinstance(first, Tensor) or not isinstance(second, Tensor):
            return None
        if (id(first) in parts) == (id(second) in parts):
            return None
        factor = kwargs.get("alpha", 1) * self.sign if id(second) in parts else 1.0
        part = parts[id(second)] if id(second) in parts else parts[id(first)]
        return Call(self, (), {"operand": part}, {"factor": float(factor)})

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """The gradient itself, summed over what the parameter was broadcast to."""
        rows = summed_to(grad, call.roles["operand"].tensor.shape, batch)
        factor = call.options["factor"]
        return {"operand": Rows(rows if factor == 1.0 else rows * factor)}


class Product(Rule):
    """x · p and p · x."""

    name = "product"
    functions: tuple[Callable, ...] = (torch.mul, torch.Tensor.mul)

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Note the other factor, which must be a tensor with axes of its own."""
        given = named(("input", "other"), args, kwargs)
        first, second = given["input"], given["other"]
        if not isinstance(first, Tensor) or not isinstance(second, Tensor):
            return None
        if (id(first) in parts) == (id(second) in parts):
            return None
        part, other = (parts[id(first)], second) if id(first) in parts else (parts[id(second)], first)
        return Call(self, (other,), {"operand": part}) if other.ndim else None

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """The gradient times the other factor, summed over what the parameter was broadcast to."""
        return {"operand": Rows(summed_to(grad * call.inputs[0], call.roles["operand"].tensor.shape, batch))}


class Repetition(Rule):
    """``p.expand(n, ...)`` and the like: a parameter that every example gets a copy of."""

    name = "expand"
    functions: tuple[Callable, ...] = (
        torch.Tensor.expand,
        torch.Tensor.expand_as,
        torch.broadcast_to,
        torch.Tensor.broadcast_to,
    )

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Nothing to note but the parameter."""
        return Call(self, (), {"operand": parts[id(args[0])]}) if id(args[0]) in parts else None

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """The gradient of each example's copy."""
        return {"operand": Rows(summed_to(grad, call.roles["operand"].tensor.shape, batch))}


class Repeat(Repetition):
    """``p.repeat(n, 1, ...)``, where only axes of size one are repeated."""

    name = "repeat"
    functions: tuple[Callable, ...] = (torch.Tensor.repeat,)

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Leave to the fallback what tiles an axis."""
        repeats = args[1] if len(args) == 2 and not isinstance(args[1], int) else args[1:]
        shape = args[0].shape
        tiled = zip(reversed(shape), reversed(tuple(repeats)), strict=False)
        if kwargs or any(size != 1 and times != 1 for size, times in tiled):
            return None
        return super().record(parts, args, kwargs)


class ParametricReLU(Rule):
    """``F.prelu``: x where x > 0, weight · x elsewhere, one weight for all or one a channel."""

    name = "prelu"
    functions: tuple[Callable, ...] = (torch.prelu, torch.Tensor.prelu)

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Note the input."""
        given = named(("input", "weight"), args, kwargs)
        if id(given["input"]) in parts or given["weight"].ndim != 1:
            return None
        return Call(self, (given["input"],), {"weight": parts[id(given["weight"])]})

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """The gradient times the negative part of the input."""
        size = call.roles["weight"].tensor.shape[0]
        shape = torch.Size([size, *[1] * (grad.ndim - 3)]) if size > 1 else torch.Size([1])
        return {"weight": Rows(summed_to(grad * call.inputs[0].clamp(max=0), shape, batch))}


RULES = (
    Sum(1.0, Sum._plus),
    Sum(-1.0, Sum._minus),
    Product(),
    Repetition(),
    Repeat(),
    ParametricReLU(),
)

#: Functions that give each example a copy of a parameter, if what they return has an axis of examples.
COPIES = frozenset(Repetition.functions + Repeat.functions)
