"""Steps that combine or rearrange positions: pooling, means, flattening, moving axes, picking entries.

A linear map M of the positions acts on both inputs: K ← M K Mᵀ. It needs the kernel of all pairs of positions;
rearrangements do not.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.kernels.infinite.pairs import Tile
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Operation, Random, State, rule
from ntkgap.kernels.infinite.rules.pointwise import Same
from ntkgap.kernels.infinite.signals import Layout, Signal
from ntkgap.models.inputs import Flatten


@dataclass(frozen=True)
class PositionMap(Operation):
    """One matrix [out, in] for every position axis; None leaves an axis as it is."""

    matrices: tuple[Tensor | None, ...]
    kept: tuple[bool, ...]  # whether the axis stays in the tensor; one that goes has a single row

    def wants_position_pairs(self, wanted: bool) -> bool:
        """Every entry of the output mixes pairs of positions."""
        return wanted or any(m is not None and not _is_selection(m) for m in self.matrices)

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Map the positions of the first input, then those of the second."""
        return [moments.map(lambda k: self._map(k, pairs)) for moments in states[0]]

    def _map(self, k: Tensor, pairs: bool) -> Tensor:
        positions = len(self.matrices)
        for side in range(2 if pairs else 1):
            for axis, matrix in enumerate(self.matrices):
                if matrix is not None:
                    at = axis + side * positions
                    k = torch.tensordot(matrix.to(k), k, dims=([1], [at])).movedim(0, at)
        gone = [a for a, keep in enumerate(self.kept) if not keep]
        gone += [a + positions for a in gone] if pairs else []
        return k.squeeze(gone).contiguous() if gone else k.contiguous()


@dataclass(frozen=True)
class Mean(Operation):
    """The mean over all positions."""

    positions: int
    kept: bool

    def wants_position_pairs(self, wanted: bool) -> bool:
        """All pairs of positions meet."""
        return True

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """The mean over all pairs of positions."""
        return [moments.map(self._mean) for moments in states[0]]

    def _mean(self, k: Tensor) -> Tensor:
        # [1, 1] on a chain of kept axes stands for equal positions as well as for all pairs of them.
        mean = k.mean(dim=tuple(range(2 * self.positions)))
        return mean[(None,) * (2 * self.positions)] if self.kept else mean


@dataclass(frozen=True)
class Rearranged(Operation):
    """Position axes merged or in another order."""

    order: tuple[int, ...]
    sizes: tuple[int, ...]
    keeps_scales = True

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """The same axes for both inputs."""
        return [moments.map(lambda k: self._rearrange(k, pairs)) for moments in states[0]]

    def _rearrange(self, k: Tensor, pairs: bool) -> Tensor:
        positions = len(self.order)
        sides = 2 if pairs else 1
        axes = [a + side * positions for side in range(sides) for a in self.order]
        tile = k.shape[sides * positions :]
        return k.permute(*axes, *range(sides * positions, k.ndim)).reshape(*self.sizes * sides, *tile)


@dataclass(frozen=True)
class ZeroPadded(Operation):
    """Positions of zeros around the others."""

    widths: tuple[tuple[int, int], ...]  # before and after, on every position axis

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Zero where either input is."""
        return [moments.map(lambda k: self._pad(k, pairs)) for moments in states[0]]

    def _pad(self, k: Tensor, pairs: bool) -> Tensor:
        widths = self.widths * (2 if pairs else 1)
        return F.pad(
            k, [0, 0] * (k.ndim - len(widths)) + [w for before_after in widths[::-1] for w in before_after]
        )


def _is_selection(matrix: Tensor) -> bool:
    """Whether every output is one input: then equal positions go to equal positions."""
    return bool((((matrix != 0).sum(1) == 1) & ((matrix == 1).sum(1) == 1)).all())


def _mapped(call: Call, source: Random, matrices: dict[int, Tensor], kept: bool) -> Compiled:
    """Apply matrices to some tensor axes of a signal."""
    layout = source.layout
    axes = layout.position_axes
    sizes = tuple(
        len(matrices[a]) if a in matrices else size for a, size in zip(axes, layout.positions, strict=True)
    )
    goes = [a in matrices and not kept for a in axes]
    left = tuple(size for size, gone in zip(sizes, goes, strict=True) if not gone)
    before = sum(gone for a, gone in zip(axes, goes, strict=True) if a < layout.channel_axis)
    out = Layout(left, layout.channel_axis - before)
    operation = PositionMap(tuple(matrices.get(a) for a in axes), tuple(not gone for gone in goes))
    return Compiled(operation, [source], Signal(out, source.signal.fields))


def _unfolded(call: Call) -> Random:
    source = call.input
    if source.layout.flat:
        raise call.refusal("comes after Flatten, where positions are folded into the features; put it before")
    return source


def _pooled(call: Call, pool: Callable[[Tensor, int], Tensor], dims: int) -> Compiled:
    """Pooling by windows that are products over axes: an axis' matrix is found by pooling an identity."""
    source = _unfolded(call)
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
    return _mapped(call, source, matrices, kept=True)


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


@rule(torch.mean, torch.sum, "mean", "sum")
def mean_or_sum(call: Call) -> Compiled:
    """Mean or sum over positions."""
    source = _unfolded(call)
    given = call.bind("input", "dim", "keepdim", dim=None, keepdim=False)
    dims, layout = given["dim"], source.layout
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
        out = Layout((1,) * n, layout.channel_axis) if kept else Layout((), 1)
        return Compiled(Mean(n, kept), [source], Signal(out, source.signal.fields))
    matrices = {}
    for axis in axes:
        size = source.value.shape[axis]
        matrices[axis] = torch.full((1, size), 1 / size if averages else 1.0, dtype=torch.float64)
    return _mapped(call, source, matrices, bool(given["keepdim"]))


@rule(nn.Flatten, Flatten, torch.flatten, "flatten")
def flatten(call: Call) -> Compiled:
    """Fold all positions into the features, or merge the position axes."""
    if call.is_module:
        start, end = call.target.start_dim, call.target.end_dim
    else:
        given = call.bind("input", "start_dim", "end_dim", start_dim=0, end_dim=-1)
        start, end = given["start_dim"], given["end_dim"]
    ndim = call.input.value.ndim
    return _merged(call, start % ndim, end % ndim)


def _merged(call: Call, start: int, end: int) -> Compiled:
    source = call.input
    layout = source.layout
    if start == end:
        return Compiled(Same(), [source], source.signal)
    axes = list(range(start, end + 1))
    if axes == list(range(1, source.value.ndim)):
        return Compiled(Same(), [source], Signal(replace(layout, flat=True, channel_axis=1), source.signal.fields))
    if not layout.flat and all(a in layout.position_axes for a in axes):
        i = layout.position_of(start)
        size = 1
        for s in layout.positions[i : i + len(axes)]:
            size *= s
        sizes = (*layout.positions[:i], size, *layout.positions[i + len(axes) :])
        moved = layout.channel_axis - (len(axes) - 1 if layout.channel_axis > start else 0)
        operation = Rearranged(tuple(range(len(layout.positions))), sizes)
        return Compiled(operation, [source], Signal(Layout(sizes, moved), source.signal.fields))
    raise call.refusal(
        f"merges axes {start} to {end} of {('n', *source.value.shape[1:])}, channels with some of the positions "
        "only; flatten everything but the batch, or positions alone"
    )


@rule("view", "reshape", torch.reshape)
def reshape(call: Call) -> Compiled:
    """Reshapes that fold all positions into the features, or merge the position axes."""
    source = call.input
    before, after = list(source.value.shape), list(call.value.shape)
    if before == after:
        return Compiled(Same(), [source], source.signal)
    for start in range(1, len(before)):
        end = start + len(before) - len(after)
        merged = torch.Size(before[start : end + 1]).numel()
        if end > start and after == [*before[:start], merged, *before[end + 1 :]]:
            return _merged(call, start, end)
    if before == [*after, *[1] * (len(before) - len(after))]:
        return _squeezed(call, list(range(len(after), len(before))))
    raise call.refusal(
        f"reshapes {('n', *before[1:])} to {('n', *after[1:])}; only Flatten and merging of positions are followed"
    )


@rule(torch.squeeze, "squeeze")
def squeeze(call: Call) -> Compiled:
    """Drop position axes of size 1."""
    source = _unfolded(call)
    dims = call.bind("input", "dim", dim=None)["dim"]
    ndim = source.value.ndim
    wanted = range(1, ndim) if dims is None else [d % ndim for d in ((dims,) if isinstance(dims, int) else dims)]
    return _squeezed(call, [a for a in wanted if source.value.shape[a] == 1 and a in source.layout.position_axes])


def _squeezed(call: Call, axes: list[int]) -> Compiled:
    source = _unfolded(call)
    if any(a not in source.layout.position_axes for a in axes):
        raise call.refusal("drops the axis of the channels")
    matrices = {a: torch.ones(1, 1, dtype=torch.float64) for a in axes}
    return _mapped(call, source, matrices, kept=False)


@rule(torch.transpose, "transpose", torch.swapaxes, "swapaxes")
def transpose(call: Call) -> Compiled:
    """Exchange two axes."""
    given = call.bind("input", "dim0", "dim1")
    ndim = call.input.value.ndim
    order = list(range(ndim))
    i, j = given["dim0"] % ndim, given["dim1"] % ndim
    order[i], order[j] = order[j], order[i]
    return _permuted(call, order)


@rule(torch.permute, "permute")
def permute(call: Call) -> Compiled:
    """Any order of axes that leaves the batch first."""
    dims = call.args[1:] if len(call.args) > 2 else call.bind("input", "dims")["dims"]
    return _permuted(call, [d % call.input.value.ndim for d in dims])


@rule(torch.movedim, "movedim")
def movedim(call: Call) -> Compiled:
    """Move one axis."""
    given = call.bind("input", "source", "destination")
    ndim = call.input.value.ndim
    marks = torch.empty(tuple(range(2, 2 + ndim)), device="meta")
    return _permuted(call, [s - 2 for s in marks.movedim(given["source"], given["destination"]).shape])


def _permuted(call: Call, order: list[int]) -> Compiled:
    source = _unfolded(call)
    if order[0] != 0:
        raise call.refusal("moves the axis of the examples; it must stay first")
    layout = source.layout
    moved = tuple(layout.position_of(a) for a in order[1:] if a != layout.channel_axis)
    sizes = tuple(layout.positions[i] for i in moved)
    out = Signal(Layout(sizes, order.index(layout.channel_axis)), source.signal.fields)
    return Compiled(Rearranged(moved, sizes), [source], out)


@rule(operator.getitem)
def select(call: Call) -> Compiled:
    """Pick positions: ``x[:, 0]`` of tokens, ``x[:, :, ::2]`` of pixels."""
    source = _unfolded(call)
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    if any(not isinstance(i, int | slice) and i is not Ellipsis for i in index):
        raise call.refusal("is indexed by something other than integers and slices")
    if Ellipsis in index:
        at = index.index(Ellipsis)
        rest = source.value.ndim - (len(index) - 1)
        index = (*index[:at], *[slice(None)] * rest, *index[at + 1 :])
    matrices, dropped = {}, {}
    for axis, i in enumerate(index):
        if i == slice(None):
            continue
        if axis not in source.layout.position_axes:
            raise call.refusal("picks examples or channels; only positions can be picked")
        rows = torch.eye(source.value.shape[axis], dtype=torch.float64)[i]
        if isinstance(i, int):
            dropped[axis] = rows[None]
        else:
            matrices[axis] = rows
    if matrices and dropped:
        raise call.refusal("mixes integers and slices in one index; write them as two steps")
    return _mapped(call, source, matrices or dropped, kept=bool(matrices))


@rule(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, F.pad)
def zero_pad(call: Call) -> Compiled:
    """Zeros around the positions, as many on each side as wanted."""
    source = _unfolded(call)
    if call.is_module:
        mode, given = "constant", {"pad": call.target.padding, "value": getattr(call.target, "value", 0)}
    else:
        given = call.bind("input", "pad", "mode", "value", mode="constant", value=0)
        mode = given["mode"]
    if mode != "constant" or given["value"]:
        raise call.refusal("pads with something other than zeros; give the convolution a padding_mode instead")
    pad = list(given["pad"])
    by_axis = {source.value.ndim - 1 - i: (pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)}
    layout = source.layout
    if any(axis not in layout.position_axes for axis, widths in by_axis.items() if widths != (0, 0)):
        raise call.refusal(f"pads the channels; only positions (axes {layout.position_axes}) can be padded")
    widths = tuple(by_axis.get(axis, (0, 0)) for axis in layout.position_axes)
    sizes = tuple(size + sum(w) for size, w in zip(layout.positions, widths, strict=True))
    return Compiled(ZeroPadded(widths), [source], Signal(replace(layout, positions=sizes), source.signal.fields))
