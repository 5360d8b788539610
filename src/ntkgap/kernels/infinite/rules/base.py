"""What a rule is: it reads one step of a traced network and says which operation on kernels it is."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from ntkgap.errors import ModelError
from ntkgap.kernels.infinite.pairs import Moments, Tile
from ntkgap.kernels.infinite.signals import Layout, Signal
from ntkgap.models.layers import Initialization

State = list[Moments]  # one entry a field


class Operation(ABC):
    """A step of the kernel recursion, from the states of its inputs to the state of its output.

    Attributes:
        scales: what becomes of trained scales of a normalisation before the step (see ``Field.scales``): "kept",
            as well thought of as behind it; "used" by the step itself; "averaged" by fresh weights; else "mixed".
    """

    scales: ClassVar[Literal["kept", "used", "averaged", "mixed"]] = "mixed"

    def wants_position_pairs(self, wanted: bool) -> bool:
        """Whether the inputs must hold all pairs of positions, given whether the output must."""
        return wanted

    @abstractmethod
    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Map the states on a tile; ``pairs`` says whether they hold all pairs of positions."""


@dataclass(frozen=True)
class Random:
    """An argument that depends on random weights."""

    name: str
    signal: Signal
    value: Tensor  # on the example

    @property
    def layout(self) -> Layout:
        """Of the signal."""
        return self.signal.layout


@dataclass(frozen=True)
class Data:
    """An argument that is a function of the input alone."""

    name: str
    value: Any  # on the example


@dataclass
class Call:
    """One step of the traced network.

    Attributes:
        name: unique name of the step.
        place: the step in words, for messages: "'features.3' (MaxPool2d)".
        target: the module, the function, or the name of the method.
        args, kwargs: arguments; random ones as ``Random``, functions of the input as ``Data``.
        value: what the step gives on the example.
        initializations: given by the user, by name of layer.
        names: of the model's parameters, by id.
        lift: turns a function of the input into a signal with channels along an axis.
        used: places of the parameters met so far, by id.
        weights: of the layers met so far, by name.
    """

    name: str
    place: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: Any
    initializations: Mapping[str, Initialization]
    names: dict[int, str]
    lift: Callable[[Data, int], Random]
    used: dict[int, str]
    weights: dict[str, Tensor]

    def bind(self, *names: str, **defaults: Any) -> dict[str, Any]:
        """Arguments by name; a tuple stands for the rest of the positional ones."""
        given = dict(zip(names, self.args, strict=False)) | self.kwargs
        return defaults | given

    def operands(self, *options: str) -> tuple[Any, Any]:
        """Both arguments of a sum, product, quotient.

        Raises:
            ModelError: if there are others than these and the options named.
        """
        given = self.bind("input", "other")
        if len(self.args) > 2 or set(given) - {"input", "other", *options} or len(given) < 2:
            raise self.refusal(f"has arguments that are not followed: {', '.join(map(str, self.kwargs))}")
        return given["input"], given["other"]

    def module_arguments(self, *names: str) -> dict[str, Any]:
        """Attributes of the module."""
        return {name: getattr(self.target, name) for name in names}

    @property
    def is_module(self) -> bool:
        """Whether the step is a module kept whole."""
        return isinstance(self.target, nn.Module)

    @property
    def input(self) -> Random:
        """The first argument.

        Raises:
            ModelError: if it does not come from a layer of random weights.
        """
        first = self.args[0] if self.args else self.kwargs.get("input")
        if isinstance(first, Data):
            raise self.refusal(
                "has parameters but acts on the input itself, before any layer of weights; that is not followed: "
                "freeze or leave out its parameters, or use monte_carlo_kernel"
            )
        if not isinstance(first, Random):
            raise self.refusal("takes what it works on from something other than the step before it")
        return first

    def refusal(self, reason: str) -> ModelError:
        """The error that names this step."""
        return ModelError(f"{self.place} {reason}")


@dataclass(frozen=True)
class Compiled:
    """What a rule makes of a step: the operation, its random inputs, and what is known of its output."""

    operation: Operation
    inputs: Sequence[Random]
    signal: Signal


Rule = Callable[[Call], Compiled]
RULES: dict[Any, Rule] = {}


def rule(*targets: Any) -> Callable[[Rule], Rule]:
    """Register a rule for module types, functions, and names of tensor methods."""

    def register(function: Rule) -> Rule:
        for target in targets:
            RULES[target] = function
        return function

    return register


def find_rule(target: Any) -> Rule | None:
    """The rule for a module (its type, or a base whose forward it has), a function or a method name."""
    if isinstance(target, nn.Module):
        forward = type(target).forward
        bases = (kind for kind in inspect.getmro(type(target)) if kind in RULES)
        return next((RULES[kind] for kind in bases if kind.__dict__.get("forward", forward) is forward), None)
    return RULES.get(target)
