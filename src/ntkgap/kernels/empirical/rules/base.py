"""What a rule is: a record taken in the forward pass, and factors of the gradient made of it afterwards."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ntkgap.kernels.empirical.factors import Factor
from ntkgap.kernels.empirical.parts import Part


@dataclass
class Call:
    """One call of a function that has a rule.

    Attributes:
        rule: the rule.
        inputs: the tensors that the rule needs again.
        roles: the parts of parameters that were used, by the role they played.
        options: stride, padding and the like.
    """

    rule: "Rule"
    inputs: tuple[Tensor, ...]
    roles: dict[str, Part]
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inputs = tuple(t.detach() for t in self.inputs)


class Rule(ABC):
    """The gradient of one torch function with respect to the parameters it was given."""

    name: str
    functions: tuple[Callable, ...]

    @abstractmethod
    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Note what is needed later, or return None if the call is outside what the rule knows."""

    @abstractmethod
    def factors(self, call: Call, grad: Tensor, batch: "Batch") -> dict[str, Factor]:
        """Factors of the per-example gradients by role, from the gradient [C, *output shape]."""


@dataclass(frozen=True)
class Batch:
    """Where the examples are in a layer's output.

    Attributes:
        axis: the axis of the output that holds them; it may have n·k entries, k of them an example's.
        n: how many examples.
        inner: whether entry t·n + i belongs to example i; otherwise entry i·k + t does.
        inputs: the same axis of each of the rule's inputs, where it is known.
    """

    axis: int
    n: int
    inner: bool = False
    inputs: tuple[int, ...] | None = None

    def first(self, tensor: Tensor, lead: int = 0) -> Tensor:
        """Bring the examples to axis ``lead``: [*leading, n, k, ...], k = 1 where there is one entry each."""
        tensor = tensor.movedim(self.axis + lead, lead)
        k = tensor.shape[lead] // self.n
        if self.inner:
            return tensor.unflatten(lead, (k, self.n)).transpose(lead, lead + 1)
        return tensor.unflatten(lead, (self.n, k))


def named(names: tuple[str, ...], args: tuple, kwargs: dict) -> dict[str, Any]:
    """Arguments by name, whether they were given by position or by name."""
    return dict(zip(names, args, strict=False)) | kwargs


def roles_of(parts: dict[int, Part], given: dict[str, Any], *roles: str) -> dict[str, Part]:
    """Those of the ``roles`` that a tracked parameter plays."""
    return {role: parts[id(given[role])] for role in roles if id(given.get(role)) in parts}


def summed_to(grad: Tensor, shape: torch.Size, batch: Batch) -> Tensor:
    """Per-example gradients [C, n, p] of what has ``shape`` and was broadcast to grad's [C, *output]."""
    missing = grad.ndim - 1 - len(shape)
    aligned = [1] * missing + list(shape)
    if aligned.pop(batch.axis) != 1:
        raise ValueError("the parameter varies along the axis of examples")
    g = batch.first(grad, lead=1)  # [C, n, k, *others]
    over = [2] + [axis for axis, size in enumerate(aligned, start=3) if size == 1]
    summed = g.sum(over) if any(g.shape[axis] != 1 for axis in over) else g.squeeze(over)
    return summed.flatten(2) if len(over) < g.ndim - 2 else summed[:, :, None]
