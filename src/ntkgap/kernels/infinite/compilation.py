"""From the graph of a model to the steps of its recursion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from ntkgap.errors import ModelError
from ntkgap.kernels.infinite.activations import Activation
from ntkgap.kernels.infinite.dispatch import compile_step, has_weights, is_step
from ntkgap.kernels.infinite.drawn import Drawn, drawn_by_step
from ntkgap.kernels.infinite.functions_of_input import FunctionsOfInput, arguments
from ntkgap.kernels.infinite.pairs import Moments, Tile
from ntkgap.kernels.infinite.recursion import Recursion, Step
from ntkgap.kernels.infinite.refusals import reason_for
from ntkgap.kernels.infinite.rules import Call, Compiled, Data, Operation, Random, State
from ntkgap.kernels.infinite.rules.base import leaves_of
from ntkgap.kernels.infinite.rules.normalization import settle
from ntkgap.kernels.infinite.rules.pointwise import Same
from ntkgap.kernels.infinite.rules.several import find_several, picked
from ntkgap.kernels.infinite.signals import Field, Layout, Signal
from ntkgap.kernels.infinite.tracing import Root, trace
from ntkgap.models.layers import Initialization


@dataclass(frozen=True)
class Lift(Operation):
    """Inner products of a function of the input, divided by its channels."""

    name: str
    channel_axis: int
    batch_axis: int

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """No parameter has been met yet."""
        return [Moments(at.inner(self.name, self.channel_axis, self.batch_axis, pairs), None)]


def compile_model(model: nn.Module, example: Tensor, initializations: Mapping[str, Initialization]) -> Recursion:
    """The recursion of a model for inputs of one shape.

    Args:
        model: the network.
        example: three inputs [3, ...] in the type of its parameters.
        initializations: of layers, by name.

    Raises:
        ModelError: if a step has no known infinite-width limit, naming it and its place.
    """
    return _Compiler(model, initializations).run(example)


class _Compiler:
    """State of one compilation."""

    def __init__(self, model: nn.Module, initializations: Mapping[str, Initialization]) -> None:
        self._model, self._model_name = model, type(model).__name__
        self._initializations = initializations
        self._names = {id(p): name for name, p in model.named_parameters()}
        self._used: dict[int, str] = {}
        self._weights: dict[str, Tensor] = {}
        self._steps: dict[str, Step] = {}
        self._activations: list[Activation] = []
        self._remarks: list[str] = []
        self._lifted: dict[str, int] = {}
        self._examples = 0

    def run(self, example: Tensor) -> Recursion:
        self._examples = len(example)
        graph, self._root = trace(self._model, example.clone(), is_step)
        self._functions = FunctionsOfInput(self._root)
        refuse_overwriting(graph)
        values: dict[fx.Node, Any] = {}
        result: Any = None
        for node in graph.nodes:
            if node.op == "output":
                result = fx.node.map_arg(node.args[0], values.__getitem__)
            else:
                values[node] = self._value_of(node, values)
        output = self._check_output(result)
        self._functions.check(example.clone(), self._lifted)
        return Recursion(self._steps, output, self._functions, self._activations, self._remarks)

    def _value_of(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """What a step gives: a random signal, a function of the input, or a constant."""
        value = node.meta.get("value")
        if node.op == "placeholder":
            return self._as_data(node, value)
        if node.op == "get_attr":
            return self._functions.constant(node)
        args, kwargs = arguments(node, values.__getitem__)
        leaves = leaves_of(args, kwargs)
        random = any(isinstance(leaf, Random) for leaf in leaves)
        target = self._root.get_submodule(str(node.target)) if node.op == "call_module" else node.target
        signal = picked(target, args, kwargs, leaves)
        if signal is not None:
            return signal
        if not random and not any(isinstance(leaf, Data) and isinstance(leaf.value, Tensor) for leaf in leaves):
            sizes = fx.node.map_aggregate((args, kwargs), lambda v: v.value if isinstance(v, Data) else v)
            drawn = drawn_by_step(target, *sizes, value)
            if drawn is not None or not any(isinstance(leaf, Data) for leaf in leaves):
                return value if drawn is None else drawn
        if isinstance(value, int):  # a number of examples
            return self._as_data(node, value)
        if not random and not has_weights(target, args, leaves):
            return self._as_data(node, value)
        call = Call(
            node.name,
            self._place(node, target),
            target,
            args,
            kwargs,
            value,
            self._initializations,
            self._names,
            self._lift,
            self._enters,
            self._step_of,
            self._examples,
            self._used,
            self._weights,
        )
        rule_for_several = find_several(target)
        if not isinstance(value, Tensor) and not (rule_for_several or reason_for(target)):
            raise call.refusal(
                f"returns a {type(value).__name__} of a random signal; only single tensors are followed"
            )
        if node.meta["without_grad"]:
            raise call.refusal(
                "runs under torch.no_grad(), so that layers before it are not trained through it; say so by "
                "freezing their parameters instead, requires_grad_(False)"
            )
        return rule_for_several(call) if rule_for_several else self._add(call, compile_step(call))

    def _add(self, call: Call, compiled: Compiled) -> Random:
        if isinstance(compiled.operation, Same):  # no step of its own, though the layout may be another
            (source,) = compiled.inputs
            made = source.made if source.layout == compiled.signal.layout else None
            return Random(source.name, compiled.signal, call.value, made)
        if compiled.remark:
            self._remarks.append(compiled.remark)
        added = self._step_of(call.name, compiled.operation, compiled.inputs, compiled.signal)
        made = (compiled.operation, compiled.inputs[0]) if len(compiled.inputs) == 1 else None
        return replace(added, value=call.value, made=made)

    def _step_of(self, name: str, operation: Operation, inputs: Sequence[Random], signal: Signal) -> Random:
        """A signal by one more step; its value on the example is not known here."""
        self._activations += operation.all_activations
        sources = list(inputs)
        if operation.scales in ("averaged", "mixed"):
            sources = [self._settled(source) for source in sources]
        if operation.scales == "mixed" and any(f.scales for s in sources for f in s.signal.fields):
            signal = replace(signal, fields=tuple(replace(f, scales="mixed") for f in signal.fields))
        self._step(name, operation, [source.name for source in sources], signal)
        return Random(name, signal, torch.empty(0))

    def _settled(self, source: Random) -> Random:
        """The signal with the part of Θ that trained scales before this step contribute."""
        if all(field.scales in ("", "mixed") for field in source.signal.fields):
            return source
        operation, signal = settle(source)
        name = f"{source.name}+scales"
        self._step(name, operation, [source.name], signal)
        return Random(name, signal, source.value)

    def _lift(self, data: Data, channel_axis: int, batch_axis: int = 0) -> Random:
        """A function of the input as a signal with its channels and its examples along an axis each."""
        if not isinstance(data.value, Tensor):
            raise ModelError(
                f"{data.name!r}, the number of examples, enters the forward of {self._model_name} as a number: "
                "what it makes of one example depends on how many there are"
            )
        name, shape = f"{data.name}@{channel_axis},{batch_axis}", data.value.shape
        if len(shape) > 1:
            self._enters(data, batch_axis)
        if len(shape) < 2 or data.value.is_complex():
            raise ModelError(
                f"{data.name!r}, a function of the input of shape {('n', *shape[1:])} and type "
                f"{data.value.dtype}, is combined with random signals; only real numbers [n, ...] can be"
            )
        positions = tuple(size for axis, size in enumerate(shape) if axis not in (batch_axis, channel_axis))
        field = Field(shape[channel_axis], gaussian=False, zero_mean=False, sources=frozenset())
        signal = Signal(Layout(positions, channel_axis, batch_axis=batch_axis), (field,))
        if name not in self._steps:
            self._step(name, Lift(data.name, channel_axis, batch_axis), [], signal)
        return Random(name, signal, data.value)

    def _enters(self, data: Data, batch_axis: int) -> None:
        """Note where a function of the input has its examples."""
        size = data.value.shape[batch_axis]
        if size != self._examples:
            raise ModelError(
                f"{data.name!r} turns {self._examples} inputs into {size}: kernels need one output for every "
                f"input, so axis {batch_axis} must be that of the examples"
            )
        self._lifted[data.name] = batch_axis

    def _step(self, name: str, operation: Operation, inputs: list[str], signal: Signal) -> None:
        self._steps[name] = Step(name, operation, tuple(inputs), signal.layout.positions, len(signal.fields))

    def _as_data(self, node: fx.Node, value: Any) -> Data:
        self._functions.add(node)
        return Data(node.name, value)

    def _place(self, node: fx.Node, target: Any) -> str:
        if node.op == "call_module":
            name = Root.name_in_model(str(node.target))
            return f"{name!r} ({type(target).__name__})" if name else type(target).__name__
        function = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
        return f"the step {function!r} ({node.name}) in the forward of {self._model_name}"

    def _check_output(self, value: Any) -> str:
        if not isinstance(value, Random):
            if isinstance(value, Data | Drawn | Tensor | int | float):
                raise ModelError(f"{self._model_name} has no layer of random weights between input and output")
            kind = "dict" if isinstance(value, dict) else type(value).__name__
            raise ModelError(
                f"{self._model_name} returns a {kind}; kernels need one tensor [n, C]: wrap the "
                "model so that it returns the outputs alone"
            )
        layout = value.layout
        if layout.batch_axis:
            raise ModelError(
                f"the output of {self._model_name} has its examples on axis {layout.batch_axis}; they must come "
                "first, [n, C]"
            )
        if layout.positions:
            axes = f"positions {layout.positions}" + (" folded into the outputs" if layout.flat else "")
            raise ModelError(
                f"the output of {self._model_name} still has {axes}; the kernel of infinitely wide networks is "
                "that of one output: end with a global mean, with Flatten and a Linear, or with one position; "
                "infinite_width_monte_carlo takes the mean over all outputs"
            )
        if not value.signal.gaussian or len(value.signal.fields) > 1:
            raise ModelError(
                f"{self._model_name} does not end with a linear layer (or a sum or multiple of such), so its "
                "tangent kernel stays random at infinite width; leave the last nonlinearity to the loss"
            )
        return value.name


def refuse_overwriting(graph: fx.Graph) -> None:
    """Refuse steps in place on something that a later step still takes: the graph has no memory to overwrite.

    Raises:
        ModelError: naming the step.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        for operand in node.meta.get("overwrites", ()):
            if any(order[user] > order[node] for user in operand.users):
                raise ModelError(
                    f"the step {node.name!r} changes {operand.name!r} in place, which is used again later; write "
                    "it out of place (relu instead of relu_, inplace=False, x = x * 2)"
                )
