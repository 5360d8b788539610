"""What a rule is: it reads one step of a traced network and says which operation on kernels it is."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, fx, nn

from ntkgap.errors import ModelError
from ntkgap.kernels.infinite.activations import Activation
from ntkgap.kernels.infinite.pairs import Moments, Tile
from ntkgap.kernels.infinite.signals import Layout, Signal
from ntkgap.models.layers import Initialization

State = list[Moments]  # one entry a field


class Operation(ABC):
    """A step of the kernel recursion, from the states of its inputs to the state of its output.

    Attributes:
        scales: what becomes of trained scales of a normalization before the step (see ``Field.scales``): "kept",
            as well thought of as behind it; "used" by the step itself; "averaged" by fresh weights; else "mixed".
    """

    scales: ClassVar[Literal["kept", "used", "averaged", "mixed"]] = "mixed"

    def wants_position_pairs(self, wanted: bool) -> bool:
        """Whether the inputs must hold all pairs of positions, given whether the output must."""
        return wanted

    @property
    def all_activations(self) -> list[Activation]:
        """Nonlinearities whose errors count."""
        return []

    @abstractmethod
    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Map the states on a tile; ``pairs`` says whether they hold all pairs of positions."""


@dataclass(frozen=True)
class Random:
    """An argument that depends on random weights.

    Attributes:
        name: of the step that gives it.
        signal: what is known of it.
        value: on the example.
        made: the operation that gives it and that operation's input, if it is the only one.
    """

    name: str
    signal: Signal
    value: Tensor
    made: "tuple[Operation, Random] | None" = None

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
        lift: turns a function of the input into a signal with channels (and examples, else the first) on an axis.
        enters: checks that a function of the input that becomes no signal has its examples on an axis.
        step: makes a signal of an operation, as a step of a name of its own.
        examples: how many inputs the example has.
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
    lift: Callable[..., Random]
    enters: Callable[[Data, int], None]
    step: Callable[[str, Operation, Sequence[Random], Signal], Random]
    examples: int
    used: dict[int, str]
    weights: dict[str, Tensor]

    @property
    def leaves(self) -> list[Any]:
        """All arguments, those in lists too."""
        return leaves_of(self.args, self.kwargs)

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
                "freeze or leave out its parameters, or use infinite_width_monte_carlo"
            )
        if not isinstance(first, Random):
            raise self.refusal("takes what it works on from something other than the step before it")
        return first

    def refusal(self, reason: str) -> ModelError:
        """The error that names this step."""
        return ModelError(f"{self.place} {reason}")


def leaves_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Arguments of a call, those in lists too."""
    leaves: list[Any] = []
    fx.node.map_aggregate((args, kwargs), leaves.append)
    return leaves


@dataclass(frozen=True)
class Compiled:
    """What a rule makes of a step.

    Attributes:
        operation: on kernels.
        inputs: its random inputs.
        signal: what is known of its output.
        remark: what is to be said to whoever asks for Θ; nothing if empty.
    """

    operation: Operation
    inputs: Sequence[Random]
    signal: Signal
    remark: str = ""


Rule = Callable[[Call], Compiled]
RULES: dict[Any, Rule] = {}
ANY_BATCH_AXIS: set[Rule] = set()
LAYERS: set[Rule] = set()


def rule(*targets: Any, any_batch_axis: bool = False, layer: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for module types, functions, and names of tensor methods.

    Args:
        targets: what the rule is for.
        any_batch_axis: whether it goes by the layout where the examples are; others want them first.
        layer: whether a parameter among the arguments was drawn at random even if it is frozen; elsewhere a frozen
            parameter is a constant.
    """

    def register(function: Rule) -> Rule:
        for target in targets:
            RULES[target] = function
        if any_batch_axis:
            ANY_BATCH_AXIS.add(function)
        if layer:
            LAYERS.add(function)
        return function

    return register


def find_rule(target: Any) -> Rule | None:
    """The rule for a module (its type, or a base whose forward it has), a function or a method name."""
    if isinstance(target, nn.Module):
        forward = type(target).forward
        bases = (kind for kind in inspect.getmro(type(target)) if kind in RULES)
        return next((RULES[kind] for kind in bases if kind.__dict__.get("forward", forward) is forward), None)
    return RULES.get(target)


def require_batch_first(call: Call, layouts: Iterable[Layout]) -> None:
    """Refuse signals whose examples are not on the first axis, for a step that takes them to be there.

    Raises:
        ModelError: saying on which axis they are.
    """
    for layout in layouts:
        if layout.batch_axis == layout.channel_axis:
            raise call.refusal(
                "acts on examples folded into the channels; give them an axis of their own again before, with "
                "reshape(N, n, -1)"
            )
        if layout.batch_axis:
            raise call.refusal(
                f"takes the first axis for the examples, which are on axis {layout.batch_axis}; put them first "
                "before, with transpose or movedim"
            )
