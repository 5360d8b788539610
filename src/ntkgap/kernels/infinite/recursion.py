"""A model compiled into the steps of the kernel recursion."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, fx, nn

from ntkgap.errors import ModelError
from ntkgap.kernels.infinite.activations import Activation, find_activation, is_elementwise, quadrature_of
from ntkgap.kernels.infinite.pairs import Moments, Tile, own_positions
from ntkgap.kernels.infinite.refusals import reason_for
from ntkgap.kernels.infinite.rules import Call, Compiled, Data, Operation, Random, State, find_rule
from ntkgap.kernels.infinite.rules.attention import Attention
from ntkgap.kernels.infinite.rules.layers import Convolution, Dense
from ntkgap.kernels.infinite.rules.normalization import Normalization, settle
from ntkgap.kernels.infinite.rules.pointwise import Pointwise, Same, pointwise
from ntkgap.kernels.infinite.signals import Field, Layout, Signal
from ntkgap.kernels.infinite.tracing import attribute, trace
from ntkgap.models.layers import Initialization

ROOT = "model"

# Tensors of the size of a kernel that a step makes on the way, at most: those of a nonlinearity.
TEMPORARIES = 8


class Root(nn.Module):
    """Holds the model, so that a model that is a single layer is traced like any other."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """The model itself."""
        return self.model(x)


@dataclass(frozen=True)
class Lift(Operation):
    """Inner products of a function of the input, divided by its channels."""

    name: str
    channel_axis: int

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """No parameter has been met yet."""
        return [Moments(at.inner(self.name, self.channel_axis, pairs), None)]


@dataclass
class Step:
    """One operation with its place in the recursion.

    Attributes:
        name: of the step.
        operation: what it does.
        inputs: names of the steps it takes.
        positions: sizes of the output's positions.
        fields: number of fields of the output.
        wanted: whether the output must hold all pairs of positions.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    positions: tuple[int, ...]
    fields: int
    wanted: bool = False

    @property
    def input_pairs(self) -> bool:
        """Whether the inputs must hold all pairs of positions."""
        return self.operation.wants_position_pairs(self.wanted)

    @property
    def entries(self) -> int:
        """Numbers a kernel of the output holds for one pair of inputs."""
        positions = 1
        for size in self.positions:
            positions *= size
        return self.fields * positions ** (2 if self.wanted else 1)


class Recursion:
    """The recursion of one model for inputs of one shape.

    Args:
        model: the network.
        example: a few inputs [b, ...] in the type of its parameters.
        initializations: of layers, by name.

    Raises:
        ModelError: if a step has no known infinite-width limit, naming it and its place.
    """

    def __init__(self, model: nn.Module, example: Tensor, initializations: Mapping[str, Initialization]) -> None:
        self._model = model
        self._initializations = initializations
        self._names = {id(p): name for name, p in model.named_parameters()}
        self._used: dict[int, str] = {}
        self._weights: dict[str, Tensor] = {}
        self._data_nodes: list[fx.Node] = []
        self._root = Root(model)
        self.steps: dict[str, Step] = {}
        self.activations: list[Activation] = []
        self.output = self._compile(trace(self._root, example, is_step))
        self._demand()

    def data(self, x: Tensor) -> dict[str, Tensor]:
        """Values that depend on the input alone, by name."""
        values: dict[fx.Node, Any] = {}
        for node in self._data_nodes:
            if node.op == "placeholder":
                values[node] = x
                continue
            if node.op == "call_method" and node.target == "size" and node.args[0] not in values:
                values[node] = len(x)  # the size of a random signal; only the number of examples is symbolic
                continue
            args, kwargs = arguments(node, lambda n: values[n] if n in values else self._constant(n))
            if node.op == "call_module":
                values[node] = self._root.get_submodule(str(node.target))(*args, **kwargs)
            elif node.op == "call_function":
                values[node] = node.target(*args, **kwargs)  # type: ignore[operator]
            else:
                values[node] = getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return {node.name: value for node, value in values.items() if isinstance(value, Tensor)}

    def evaluate(self, at: Tile) -> Moments:
        """Run the recursion on a tile of pairs; kernels of one output."""
        states: dict[str, State] = {}
        last_use = self._last_uses()
        for step in self.steps.values():
            inputs = [self._reduced(states[name], name, step.input_pairs) for name in step.inputs]
            states[step.name] = step.operation(at, step.input_pairs, *inputs)
            if self._holds_pairs(step) and not step.wanted:
                states[step.name] = self._equal_positions(states[step.name], step)
            for name in step.inputs:
                if last_use[name] == step.name:
                    states.pop(name, None)
        return states[self.output][0]

    @property
    def entries(self) -> int:
        """Numbers a kernel holds for one pair of inputs where the recursion is widest."""
        return max(step.entries for step in self.steps.values())

    @property
    def live(self) -> int:
        """Tensors of that size that exist at once: Σ and Θ of every state still needed, and temporaries."""
        last_use = self._last_uses()
        names = list(self.steps)
        alive = most = 0
        ends: dict[str, int] = dict.fromkeys(names, 0)
        for name in names:
            ends[last_use.get(name, name)] += 1
        for name in names:
            alive += 1
            most = max(most, alive)
            alive -= ends[name]
        return 2 * most + TEMPORARIES

    def _last_uses(self) -> dict[str, str]:
        """The last step that takes the state of each."""
        return {name: step.name for step in self.steps.values() for name in step.inputs}

    def _holds_pairs(self, step: Step) -> bool:
        return step.input_pairs and bool(step.positions)

    def _reduced(self, state: State, name: str, pairs: bool) -> State:
        """A state with all pairs of positions, cut down to equal ones where the next step wants no more."""
        step = self.steps[name]
        return self._equal_positions(state, step) if step.wanted and not pairs and step.positions else state

    @staticmethod
    def _equal_positions(state: State, step: Step) -> State:
        return [moments.map(lambda k: own_positions(k, len(step.positions))) for moments in state]

    def _demand(self) -> None:
        """Find where all pairs of positions are needed, from the output back."""
        for step in reversed(self.steps.values()):
            if step.input_pairs:
                for name in step.inputs:
                    self.steps[name].wanted = True

    def _compile(self, graph: fx.Graph) -> str:
        values: dict[fx.Node, Any] = {}
        for node in graph.nodes:
            if node.op == "output":
                return self._check_output(values.get(node.args[0], node.args[0]))
            values[node] = self._value_of(node, values)
        raise ModelError("the model returns nothing")

    def _value_of(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        if node.op == "placeholder":
            return self._as_data(node)
        if node.op == "get_attr":
            return self._constant(node)
        args, kwargs = arguments(node, values.__getitem__)
        leaves: list[Any] = []
        fx.node.map_aggregate((args, kwargs), leaves.append)
        random = [leaf for leaf in leaves if isinstance(leaf, Random)]
        if not random and not any(isinstance(leaf, Data) for leaf in leaves):
            return node.meta["value"]
        if not isinstance(node.meta["value"], Tensor):  # a number of examples
            return self._as_data(node)
        target = self._root.get_submodule(str(node.target)) if node.op == "call_module" else node.target
        if not random and not self._trains(target, leaves):
            return self._as_data(node)
        call = Call(
            node.name,
            self._place(node, target),
            target,
            args,
            kwargs,
            node.meta["value"],
            self._initializations,
            self._names,
            self._lift,
            self._used,
            self._weights,
        )
        return self._add(call, compile_step(call))

    def _add(self, call: Call, compiled: Compiled) -> Random:
        if isinstance(
            compiled.operation, Same
        ):  # no step: the signal under its own name, in another layout perhaps
            return Random(compiled.inputs[0].name, compiled.signal, call.value)
        if isinstance(compiled.operation, Pointwise):
            self.activations.append(compiled.operation.activation)
        signal, sources = compiled.signal, list(compiled.inputs)
        if not compiled.operation.keeps_scales and not isinstance(compiled.operation, Pointwise):
            sources = [self._settled(source) for source in sources]
            mixed = any(field.scales for source in sources for field in source.signal.fields)
            if mixed and not isinstance(compiled.operation, Dense | Convolution | Attention | Normalization):
                signal = replace(signal, fields=tuple(replace(f, scales="mixed") for f in signal.fields))
        inputs = tuple(source.name for source in sources)
        self.steps[call.name] = Step(
            call.name, compiled.operation, inputs, signal.layout.positions, len(signal.fields)
        )
        return Random(call.name, signal, call.value)

    def _constant(self, node: fx.Node) -> Any:
        """A parameter, a buffer, or what a step that sees neither input nor parameters gave on the example."""
        return attribute(self._root, str(node.target)) if node.op == "get_attr" else node.meta["value"]

    def _settled(self, source: Random) -> Random:
        """The signal with the part of Θ that trained scales before this step contribute."""
        if all(field.scales in ("", "mixed") for field in source.signal.fields):
            return source
        operation, signal = settle(source)
        name = f"{source.name}+scales"
        self.steps[name] = Step(name, operation, (source.name,), signal.layout.positions, len(signal.fields))
        return Random(name, signal, source.value)

    def _as_data(self, node: fx.Node) -> Data:
        self._data_nodes.append(node)
        return Data(node.name, node.meta["value"])

    def _lift(self, data: Data, channel_axis: int) -> Random:
        """A function of the input as a signal with its channels along an axis."""
        name = f"{data.name}@{channel_axis}"
        shape = data.value.shape
        positions = tuple(size for axis, size in enumerate(shape) if axis not in (0, channel_axis))
        field = Field(shape[channel_axis], gaussian=False, zero_mean=False, sources=frozenset())
        if name not in self.steps:
            self.steps[name] = Step(name, Lift(data.name, channel_axis), (), positions, 1)
        return Random(name, Signal(Layout(positions, channel_axis), (field,)), data.value)

    @staticmethod
    def _trains(target: Any, leaves: list[Any]) -> bool:
        if isinstance(target, nn.Module):
            return any(True for _ in target.parameters())
        return any(isinstance(leaf, nn.Parameter) for leaf in leaves)

    def _place(self, node: fx.Node, target: Any) -> str:
        if isinstance(target, nn.Module):
            name = str(node.target).removeprefix(ROOT).removeprefix(".")
            return f"{name!r} ({type(target).__name__})" if name else type(target).__name__
        function = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        return f"the step {function!r} in the forward of {type(self._model).__name__}"

    def _check_output(self, value: Any) -> str:
        if not isinstance(value, Random):
            raise ModelError(
                f"{type(self._model).__name__} has no layer of random weights between its input and its output"
            )
        layout = value.layout
        if layout.positions:
            axes = f"positions {layout.positions}" + (" folded into the outputs" if layout.flat else "")
            raise ModelError(
                f"the output of {type(self._model).__name__} still has {axes}; the kernel of infinitely wide "
                "networks is that of one output: end with a global mean, or with Flatten and a Linear"
            )
        if not value.signal.gaussian or len(value.signal.fields) > 1:
            raise ModelError(
                f"{type(self._model).__name__} does not end with a linear layer (or a sum or multiple of such), "
                "so its tangent kernel stays random at infinite width; leave the last nonlinearity to the loss"
            )
        return value.name


def arguments(node: fx.Node, value_of: Callable[[fx.Node], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a traced step with other steps replaced by their values."""
    args: Any = fx.node.map_arg(node.args, value_of)
    kwargs: Any = fx.node.map_arg(node.kwargs, value_of)
    return args, kwargs


def is_step(module: nn.Module) -> bool:
    """Whether a module is one step of the recursion; all others are traced into."""
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False
    if find_rule(module) or find_activation(module) or reason_for(module):
        return True
    if type(module).__module__.startswith("torch.nn"):
        return True
    return is_elementwise(module)


def compile_step(call: Call) -> Compiled:
    """The operation of a step: by its rule, as a nonlinearity, or not at all.

    Raises:
        ModelError: if there is none, naming the step.
    """
    rule = find_rule(call.target)
    if rule is not None:
        return rule(call)
    activation = find_activation(call.target, *call.args[1:], **call.kwargs)
    if activation is None and call.is_module and is_elementwise(call.target):
        activation = quadrature_of(call.target, type(call.target).__name__)
    if activation is not None:
        return pointwise(call, activation)
    reason = reason_for(call.target) if call.is_module else None
    raise call.refusal(
        reason
        or "has no known infinite-width limit; if it acts on every entry alone, make it a module without "
        "parameters, else use monte_carlo_kernel"
    )
