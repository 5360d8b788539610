"""Average pooling, and means and sums over positions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.kernels.infinite.rules.base import Call, Compiled, rule
from ntkgap.kernels.infinite.rules.position_maps import Mean, mapped, unfolded
from ntkgap.kernels.infinite.signals import Layout, Signal


def _pooled(call: Call, pool: Callable[[Tensor, int], Tensor], dims: int) -> Compiled:
    """Pooling by windows that are products over axes: an axis' matrix is found by pooling an identity."""
    source = unfolded(call)
    layout = source.layout
    if layout.channel_axis != 1 or len(layout.positions) != dims:
        raise call.refusal(
            f"takes [n, channels, {', '.join('dhw'[-dims:])}], but its input of shape "
            f"{('n', *source.value.shape[1:])} has its channels on axis {layout.channel_axis}"
        )
    matrices = {}
    for i, (axis, size) in enumerate(zip(layout.position_axes, layout.positions, strict=True)):
        identity = torch.eye(size, dtype=torch.float64)[:, None]
        matrices[axis] = pool(identity, i)[:, 0].T.contiguous()
    everything = all(len(m) == 1 and bool((m == m[0, 0]).all()) for m in matrices.values())
    if everything and all(torch.allclose(m.sum(), m.new_ones(())) for m in matrices.values()):
        out = Layout((1,) * dims, 1)
        return Compiled(Mean(dims, kept=True), [source], Signal(out, source.signal.fields))
    return mapped(call, source, matrices, kept=True)


def _axis(value: object, i: int) -> Any:
    """An argument that is given once or for every axis."""
    if not isinstance(value, tuple | list):
        return value
    return value[i] if len(value) > 1 else value[0]


@rule(nn.AvgPool1d, nn.AvgPool2d, F.avg_pool1d, F.avg_pool2d)
def average_pool(call: Call) -> Compiled:
    """Average pooling, with torch's own windows."""
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
    if call.is_module:
        given = call.module_arguments(*names) | {
            "divisor_override": getattr(call.target, "divisor_override", None)
        }
    else:
        defaults = {"stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True}
        given = call.bind("input", *names, "divisor_override", divisor_override=None, **defaults)
    if given["divisor_override"] is not None:
        raise call.refusal("has divisor_override; leave it out and multiply by a number instead")

    def pool(x: Tensor, i: int) -> Tensor:
        window = _axis(given["kernel_size"], i)
        return F.avg_pool1d(
            x,
            window,
            _axis(given["stride"], i) if given["stride"] else window,
            _axis(given["padding"], i),
            given["ceil_mode"],
            given["count_include_pad"],
        )

    return _pooled(call, pool, call.input.value.ndim - 2)


@rule(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)
def adaptive_average_pool(call: Call) -> Compiled:
    """Average pooling to a given size."""
    size = call.target.output_size if call.is_module else call.bind("input", "output_size")["output_size"]

    def pool(x: Tensor, i: int) -> Tensor:
        out = _axis(size, i)
        return x if out is None else F.adaptive_avg_pool1d(x, out)

    return _pooled(call, pool, call.input.value.ndim - 2)


@rule(torch.mean, torch.sum, "mean", "sum", any_batch_axis=True)
def mean_or_sum(call: Call) -> Compiled:
    """Mean or sum over positions."""
    source = unfolded(call)
    given = call.bind("input", "dim", "keepdim", dim=None, keepdim=False)
    dims, layout = given["dim"], source.layout
    if given.get("dtype") is not None:
        raise call.refusal("has dtype=; leave it out, the kernels have a type of their own")
    if dims is None:
        raise call.refusal(
            "takes the mean of everything, channels and examples included; name the axes of positions"
        )
    axes = [a % source.value.ndim for a in ((dims,) if isinstance(dims, int) else dims)]
    if any(a not in layout.position_axes for a in axes):
        raise call.refusal(
            f"runs over axes {sorted(axes)}, but the positions are on axes {layout.position_axes} and the "
            f"channels on {layout.channel_axis}; a mean over channels has no infinite-width limit"
        )
    averages = call.target in (torch.mean, "mean")
    if averages and sorted(axes) == layout.position_axes:
        kept = bool(given["keepdim"])
        n = len(axes)
        out = replace(layout, positions=(1,) * n) if kept else layout.without(axes)
        return Compiled(Mean(n, kept), [source], Signal(out, source.signal.fields))
    matrices = {}
    for axis in axes:
        size = source.value.shape[axis]
        matrices[axis] = torch.full((1, size), 1 / size if averages else 1.0, dtype=torch.float64)
    return mapped(call, source, matrices, bool(given["keepdim"]))
