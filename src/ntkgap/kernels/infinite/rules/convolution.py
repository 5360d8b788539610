r"""Convolutions: Σ ← σ_w² 𝒜(Σ) + σ_b², 𝒜 the average over the receptive field, jointly for both inputs.

Sources: Arora et al. 2019, *On exact computation with an infinitely wide neural net*; Novak et al. 2019.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.kernels.infinite.pairs import Tile
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Operation, Random, State, rule
from ntkgap.kernels.infinite.rules.weights import (
    Coefficients,
    average,
    gaussian_output,
    layer_coefficients,
    layer_input,
    layer_parameters,
    shares_of,
)
from ntkgap.kernels.infinite.signals import Layout
from ntkgap.models.layers import ScaledConv2d

# Which axis of the receptive field, and how it is walked: kernel size, stride, padding on both sides, dilation.
Walk = tuple[int, int, tuple[int, int], int]


@dataclass(frozen=True)
class Convolution(Operation):
    """A convolution with shared weights."""

    coefficients: Coefficients
    shares: tuple[float, ...]
    walks: tuple[Walk, ...]
    padding_mode: str
    scales = "averaged"

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
        return [coefficients.apply(mean.map(lambda k: self.over_receptive_field(k, pairs)), at.with_ntk)]

    def over_receptive_field(self, k: Tensor, pairs: bool) -> Tensor:
        """The sum over all taps that are moved together, [*out, *out, *tile] or [*out, *tile]."""
        positions = len(self.walks)
        for axis, (kernel, stride, padding, dilation) in enumerate(self.walks):
            axes = (axis, axis + positions) if pairs else (axis,)
            if self.padding_mode != "zeros":
                k, padding = _padded(k, axes, padding, self.padding_mode), (0, 0)
            k = _sum_of_shifts(k, axes, kernel, stride, padding, dilation)
        return k


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


@rule(nn.Conv1d, nn.Conv2d, nn.Conv3d, ScaledConv2d, F.conv1d, F.conv2d, F.conv3d, layer=True)
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
            "use infinite_width_monte_carlo"
        )
    layer, weight, bias = layer_parameters(call, given["weight"], given["bias"])
    dims = weight.ndim - 2
    source = channels_first(call, layer_input(call, given["input"], 1), dims)
    walks = tuple(
        (kernel, stride, padding, dilation)
        for kernel, stride, padding, dilation in zip(
            weight.shape[2:],
            each(given["stride"], dims),
            _paddings(given["padding"], weight, each(given["dilation"], dims)),
            each(given["dilation"], dims),
            strict=True,
        )
    )
    operation = Convolution(
        layer_coefficients(call, layer, weight, bias, call.target),
        shares_of(source.signal),
        walks,
        given["padding_mode"],
    )
    out = Layout(tuple(call.value.shape[2:]), 1)
    return Compiled(operation, [source], gaussian_output(call, out, len(weight)))


def channels_first(call: Call, source: Random, dims: int) -> Random:
    """The signal, if it is one of images with channels first.

    Raises:
        ModelError: if it is not.
    """
    layout = source.layout
    if layout.flat or layout.channel_axis != 1 or len(layout.positions) != dims:
        raise call.refusal(
            f"takes [n, channels, {', '.join('dhw'[-dims:])}], but its input of shape "
            f"{('n', *source.value.shape[1:])} has its channels on axis {layout.channel_axis}"
            + (" folded with positions" if layout.flat else "")
        )
    return source


def each(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    """A number given once, or for every axis."""
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
    return [(p, p) for p in each(cast(int | tuple[int, ...], padding), len(kernels))]
