"""What a rule is: a record taken in the forward pass, and factors of the gradient made of it afterwards."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

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

    name: ClassVar[str]
    functions: ClassVar[tuple[Callable, ...]]

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
        axis: the axis of the output that holds them.
        n: how many examples; the axis may have n·k entries, k consecutive ones belonging to an example.
    """

    axis: int
    n: int

    def first(self, tensor: Tensor, lead: int = 0) -> Tensor:
        """Bring the examples to axis ``lead``: [*leading, n, k, ...], k = 1 where there is one entry each."""
        tensor = tensor.movedim(self.axis + lead, lead)
        k = tensor.shape[lead] // self.n
        return tensor.unflatten(lead, (self.n, k))
