r"""Layers with weights: Σ ← σ_w² 𝒜(Σ) + σ_b², Θ ← contributions of the layer's own parameters + σ_w² 𝒜(Θ).

𝒜 is the identity for a dense layer, the mean over positions where they are folded into the features, and the
average over the receptive field, jointly for both inputs, for a convolution (Arora et al. 2019, *On exact
computation with an infinitely wide neural net*; Novak et al. 2019).
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.kernels.infinite.initializations import find_initialization
from ntkgap.kernels.infinite.pairs import Moments, Tile
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Data, Operation, Random, State, rule
from ntkgap.kernels.infinite.signals import Field, Layout, Signal
from ntkgap.models.layers import ScaledConv2d, ScaledLinear
from ntkgap.models.shallow import SignReadout

# Which axis of the receptive field, and how it is walked: kernel size, stride, padding on both sides, dilation.
Walk = tuple[int, int, tuple[int, int], int]


@dataclass(frozen=True)
class Coefficients:
    """How a layer maps the averaged kernels.

    With effective weights s·w, w ~ N(0, v), and biases s_b·b, b ~ N(0, v_b):

    Attributes:
        gain: s²·v·fan_in, the σ_w² of the NTK parametrisation.
        shift: s_b²·v_b, its σ_b².
        weight_learning: s²·fan_in, the part of Θ from the layer's weights for a unit of Σ; 0 if they are frozen.
        bias_learning: s_b², the part from its biases; 0 if there are none or they are frozen.
    """

    gain: float
    shift: float
    weight_learning: float
    bias_learning: float

    def apply(self, mean: Moments, with_ntk: bool) -> Moments:
        """Σ and Θ of the layer's output, from their averages over its inputs."""
        nngp, ntk = mean
        out = _affine(nngp, self.gain, self.shift)
        if not with_ntk or (ntk is None and not self.weight_learning and not self.bias_learning):
            return Moments(out, None)
        learned = _affine(nngp, self.weight_learning, self.bias_learning)
        return Moments(out, learned if ntk is None else learned.add_(ntk, alpha=self.gain))


@dataclass(frozen=True)
class Dense(Operation):
    """A dense layer, on the channels alone or on channels × positions."""

    coefficients: Coefficients
    shares: tuple[float, ...]
    positions: int  # folded into the features

    def wants_position_pairs(self, wanted: bool) -> bool:
        """Folded positions meet only themselves."""
        return wanted and not self.positions

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Average over the fields and the folded positions."""
        mean = average(states[0], self.shares)
        if self.positions:
            mean = mean.map(lambda k: k.mean(dim=tuple(range(self.positions))))
        return [self.coefficients.apply(mean, at.with_ntk)]


@dataclass(frozen=True)
class Convolution(Operation):
    """A convolution with shared weights."""

    coefficients: Coefficients
    shares: tuple[float, ...]
    walks: tuple[Walk, ...]
    padding_mode: str

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Average over the fields and the receptive field."""
        mean = average(states[0], self.shares)
        size = math.prod(walk[0] for walk in self.walks)
        coefficients = Coefficients(
            self.coefficients.gain / size,
            self.coefficients.shift,
            self.coefficients.weight_learning / size,
            self.coefficients.bias_learning,
        )
        return [coefficients.apply(mean.map(lambda k: self._over_receptive_field(k, pairs)), at.with_ntk)]

    def _over_receptive_field(self, k: Tensor, pairs: bool) -> Tensor:
        positions = len(self.walks)
        for axis, (kernel, stride, padding, dilation) in enumerate(self.walks):
            axes = (axis, axis + positions) if pairs else (axis,)
            if self.padding_mode != "zeros":
                k, padding = _padded(k, axes, padding, self.padding_mode), (0, 0)
            k = _sum_of_shifts(k, axes, kernel, stride, padding, dilation)
        return k


def _affine(x: Tensor, gain: float, shift: float) -> Tensor:
    """gain·x + shift in a new tensor."""
    return x * gain + shift if shift else x * gain


def average(state: State, shares: tuple[float, ...]) -> Moments:
    """Mean over all channels of fields that hold the given shares of them."""
    if len(state) == 1:
        return state[0]
    nngp = sum_of([m.nngp * share for m, share in zip(state, shares, strict=True)])
    parts = [m.ntk * share for m, share in zip(state, shares, strict=True) if m.ntk is not None]
    return Moments(nngp, sum_of(parts) if parts else None)


def sum_of(tensors: list[Tensor]) -> Tensor:
    """Sum of at least one tensor."""
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


def _padded(k: Tensor, axes: tuple[int, ...], padding: tuple[int, int], mode: str) -> Tensor:
    """Pad by entries of the tensor itself, in the order in which torch would take them."""
    for axis in axes:
        places = torch.arange(k.shape[axis], dtype=torch.float64, device=k.device)[None, None]
        order = F.pad(places, padding, mode=mode)[0, 0].long()
        k = k.index_select(axis, order)
    return k


def _sum_of_shifts(
    k: Tensor, axes: tuple[int, ...], kernel: int, stride: int, padding: tuple[int, int], dilation: int
) -> Tensor:
    """Σ_a K[.., o·stride + a·dilation − padding, ..] with all axes shifted together, zero outside."""
    size = k.shape[axes[0]]
    out_size = (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1
    total: Tensor | None = None
    # The shift that covers all outputs comes first: it is a copy, the others are added where they reach.
    for a in sorted(range(kernel), key=lambda a: abs(a * dilation - padding[0])):
        offset = a * dilation - padding[0]
        first = max(0, -(offset // stride))
        last = min(out_size - 1, (size - 1 - offset) // stride)
        if last < first:
            continue
        source, target = k, [slice(None)] * k.ndim
        for axis in axes:
            begin = first * stride + offset
            source = source[(slice(None),) * axis + (slice(begin, last * stride + offset + 1, stride),)]
            target[axis] = slice(first, last + 1)
        if total is None and first == 0 and last == out_size - 1:
            total = source.clone(memory_format=torch.contiguous_format) if kernel > 1 else source.contiguous()
            continue
        if total is None:
            shape = [out_size if axis in axes else length for axis, length in enumerate(k.shape)]
            total = k.new_zeros(shape)
        total[tuple(target)] += source
    return cast(Tensor, total)


def coefficients_of(call: Call, layer: nn.Module) -> Coefficients:
    """Coefficients of a dense layer inside a module that is one step."""
    name, weight, bias = _parameters(call, layer.weight, layer.bias)
    return _coefficients(call, name, weight, bias, layer)


def _coefficients(call: Call, layer: str, weight: Tensor, bias: Tensor | None, module: object) -> Coefficients:
    declared = getattr(module, "initialization", None)
    given = find_initialization(layer, weight, bias, call.initializations, declared)
    per_weight = given.weight_scale**2 * weight[0].numel()
    per_bias = given.bias_scale**2 if bias is not None else 0.0
    return Coefficients(
        per_weight * given.weight_std**2,
        per_bias * given.bias_std**2,
        per_weight if weight.requires_grad else 0.0,
        per_bias if bias is not None and bias.requires_grad else 0.0,
    )


def _parameters(call: Call, weight: object, bias: object) -> tuple[str, Tensor, Tensor | None]:
    """The layer's name, weight and bias; every layer is used once."""
    if not isinstance(weight, Tensor) or not (id(weight) in call.names or call.is_module):
        raise call.refusal(
            "multiplies by something that is not a parameter; only layers with weights drawn at random have a "
            "limit"
        )
    layer = call.names.get(id(weight), call.name).rpartition(".")[0] or call.names.get(id(weight), call.name)
    for parameter in (weight, bias):
        if isinstance(parameter, Tensor):
            if id(parameter) in call.used:
                raise call.refusal(
                    f"uses the weights of {call.used[id(parameter)]} a second time; with tied weights the layers "
                    "are correlated and no recursion is known. Use separate layers, or monte_carlo_kernel"
                )
            call.used[id(parameter)] = call.place
    _refuse_equal_weights(call, layer, weight)
    return layer, weight, bias if isinstance(bias, Tensor) else None


def _refuse_equal_weights(call: Call, layer: str, weight: Tensor) -> None:
    """Copies of a layer that start with the same values are as correlated as one layer used twice."""
    for place, other in call.weights.items():
        if other.shape == weight.shape and _first_row_equal(other, weight) and torch.equal(other, weight):
            raise call.refusal(
                f"starts with exactly the weights of {place!r}; the two are correlated and no recursion is known. "
                "For the difference of two equal networks use ntkgap.models.Antisymmetric"
            )
    call.weights[layer] = weight


def _first_row_equal(a: Tensor, b: Tensor) -> bool:
    return bool(a[0].any()) and torch.equal(a[0], b[0])  # zeros draw nothing and share nothing


def _input(call: Call, argument: object, channel_axis: int) -> Random:
    if isinstance(argument, Data):
        return call.lift(argument, channel_axis)
    if not isinstance(argument, Random):
        raise call.refusal("is applied to a constant, not to the input")
    return argument


def shares_of(signal: Signal) -> tuple[float, ...]:
    """The part of the channels that every field has."""
    return tuple(field.channels / signal.channels for field in signal.fields)


def gaussian_output(call: Call, layout: Layout, channels: int) -> Signal:
    """What a layer of fresh weights puts out."""
    return Signal(layout, (Field(channels, gaussian=True, zero_mean=True, sources=frozenset({call.place})),))


@rule(nn.Linear, ScaledLinear, SignReadout, F.linear)
def dense(call: Call) -> Compiled:
    """A dense layer acts on the last axis of its input."""
    if call.is_module:
        weight, bias = call.target.weight, call.target.bias
        argument = call.bind("input")["input"]
    else:
        given = call.bind("input", "weight", "bias", bias=None)
        weight, bias, argument = given["weight"], given["bias"], given["input"]
    layer, weight, bias = _parameters(call, weight, bias)
    last = argument.value.ndim - 1 if isinstance(argument, Data | Random) else 1
    source = _input(call, argument, last)
    layout = source.layout
    if layout.channel_axis != last:
        raise call.refusal(
            f"acts on the last axis of a tensor whose channels are on axis {layout.channel_axis} "
            f"(shape {('n', *source.value.shape[1:])}): put the channels last with movedim, or flatten first"
        )
    folded = len(layout.positions) if layout.flat else 0
    operation = Dense(_coefficients(call, layer, weight, bias, call.target), shares_of(source.signal), folded)
    positions = () if layout.flat else layout.positions
    return Compiled(operation, [source], gaussian_output(call, Layout(positions, len(positions) + 1), len(weight)))


@rule(nn.Conv1d, nn.Conv2d, nn.Conv3d, ScaledConv2d, F.conv1d, F.conv2d, F.conv3d)
def convolution(call: Call) -> Compiled:
    """A convolution acts on channels first."""
    names = ("stride", "padding", "dilation", "groups")
    if call.is_module:
        given = call.bind("input") | call.module_arguments("weight", "bias", "padding_mode", *names)
    else:
        defaults = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros"}
        given = call.bind("input", "weight", "bias", *names, **defaults)
    if given["groups"] != 1:
        raise call.refusal(
            f"has groups={given['groups']}; grouped and depthwise convolutions are not supported, "
            "use monte_carlo_kernel"
        )
    layer, weight, bias = _parameters(call, given["weight"], given["bias"])
    source = _input(call, given["input"], 1)
    layout = source.layout
    dims = weight.ndim - 2
    if layout.flat or layout.channel_axis != 1 or len(layout.positions) != dims:
        raise call.refusal(
            f"takes [n, channels, {', '.join('hw'[:dims] or 'l')}], but its input of shape "
            f"{('n', *source.value.shape[1:])} has its channels on axis {layout.channel_axis}"
            + (" folded with positions" if layout.flat else "")
        )
    walks = tuple(
        (kernel, stride, padding, dilation)
        for kernel, stride, padding, dilation in zip(
            weight.shape[2:],
            _each(given["stride"], dims),
            _paddings(given["padding"], weight, _each(given["dilation"], dims)),
            _each(given["dilation"], dims),
            strict=True,
        )
    )
    operation = Convolution(
        _coefficients(call, layer, weight, bias, call.target),
        shares_of(source.signal),
        walks,
        given["padding_mode"],
    )
    out = Layout(tuple(call.value.shape[2:]), 1)
    return Compiled(operation, [source], gaussian_output(call, out, len(weight)))


def _each(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dims if len(values) == 1 else values


def _paddings(
    padding: str | int | tuple[int, ...], weight: Tensor, dilation: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Zeros before and after, on every axis; torch puts the odd one of "same" behind."""
    kernels = weight.shape[2:]
    if padding == "valid":
        return [(0, 0)] * len(kernels)
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernels, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in _each(cast(int | tuple[int, ...], padding), len(kernels))]
