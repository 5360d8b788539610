"""Steps that fold, merge, move, pick or pad positions without mixing them."""

import operator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.kernels.infinite.pairs import Tile
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Operation, Random, State, rule
from ntkgap.kernels.infinite.rules.pointwise import Same
from ntkgap.kernels.infinite.rules.position_maps import mapped, unfolded
from ntkgap.kernels.infinite.signals import Layout, Signal
from ntkgap.models.input_checks import Flatten


@dataclass(frozen=True)
class Rearranged(Operation):
    """Position axes merged or in another order."""

    order: tuple[int, ...]
    sizes: tuple[int, ...]
    scales = "kept"

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
    if axes == list(range(1, source.value.ndim)) and layout.batch_axis == 0:
        return Compiled(Same(), [source], Signal(replace(layout, flat=True, channel_axis=1), source.signal.fields))
    if not layout.flat and all(a in layout.position_axes for a in axes):
        i = layout.position_of(start)
        size = 1
        for s in layout.positions[i : i + len(axes)]:
            size *= s
        sizes = (*layout.positions[:i], size, *layout.positions[i + len(axes) :])
        channel, batch = (
            at - (len(axes) - 1 if at > start else 0) for at in (layout.channel_axis, layout.batch_axis)
        )
        operation = Rearranged(tuple(range(len(layout.positions))), sizes)
        return Compiled(
            operation, [source], Signal(Layout(sizes, channel, batch_axis=batch), source.signal.fields)
        )
    raise call.refusal(
        f"merges axes {start} to {end} of {('n', *source.value.shape[1:])}, channels with some of the positions "
        "only; flatten everything but the batch, or positions alone"
    )


@rule("view", "reshape", torch.reshape, any_batch_axis=True)
def reshape(call: Call) -> Compiled:
    """Reshapes that fold all positions into the features, or merge the position axes."""
    source = call.input
    before, after = list(source.value.shape), list(call.value.shape)
    if before == after:
        return Compiled(Same(), [source], source.signal)
    refolded = _refolded(source, after)
    if refolded is not None:
        return Compiled(Same(), [source], Signal(refolded, source.signal.fields))
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


def _refolded(source: Random, after: list[int]) -> Layout | None:
    """The layout if a reshape puts examples and channels on one axis, [N, n, d] to [N, n·d], or apart again.

    This is how a sparse matrix, which multiplies nothing but matrices, is applied to the nodes of many graphs.
    """
    layout, channels = source.layout, source.signal.channels
    before, batch = list(source.value.shape), layout.batch_axis
    if layout.flat:
        return None
    if batch == layout.channel_axis:
        apart = [*before[:batch], before[batch] // channels, channels, *before[batch + 1 :]]
        return replace(layout, channel_axis=batch + 1) if after == apart else None
    together = [*before[:batch], before[batch] * channels, *before[batch + 2 :]]
    folds = batch > 0 and layout.channel_axis == batch + 1 and after == together
    return replace(layout, channel_axis=batch) if folds else None


@rule(torch.squeeze, "squeeze", any_batch_axis=True)
def squeeze(call: Call) -> Compiled:
    """Drop position axes of size 1."""
    source = unfolded(call)
    dims = call.bind("input", "dim", dim=None)["dim"]
    ndim = source.value.ndim
    wanted = range(ndim) if dims is None else [d % ndim for d in ((dims,) if isinstance(dims, int) else dims)]
    return _squeezed(call, [a for a in wanted if source.value.shape[a] == 1 and a in source.layout.position_axes])


def _squeezed(call: Call, axes: list[int]) -> Compiled:
    source = unfolded(call)
    if any(a not in source.layout.position_axes for a in axes):
        raise call.refusal("drops the axis of the channels")
    matrices = {a: torch.ones(1, 1, dtype=torch.float64) for a in axes}
    return mapped(call, source, matrices, kept=False)


@rule(torch.transpose, "transpose", torch.swapaxes, "swapaxes", any_batch_axis=True)
def transpose(call: Call) -> Compiled:
    """Exchange two axes."""
    given = call.bind("input", "dim0", "dim1")
    ndim = call.input.value.ndim
    order = list(range(ndim))
    i, j = given["dim0"] % ndim, given["dim1"] % ndim
    order[i], order[j] = order[j], order[i]
    return permuted(unfolded(call), order)


@rule(getattr, any_batch_axis=True)
def attribute(call: Call) -> Compiled:
    """``x.mT``; tensors that are attributes of others have no rule beside it."""
    source, name = call.input, call.args[1]
    if name != "mT":
        raise call.refusal(f"takes the attribute {name!r} of a random signal, which is not followed")
    *rest, i, j = range(source.value.ndim)
    return permuted(unfolded(call), [*rest, j, i])


@rule(torch.permute, "permute", any_batch_axis=True)
def permute(call: Call) -> Compiled:
    """Any order of axes."""
    dims = call.args[1:] if len(call.args) > 2 else call.bind("input", "dims")["dims"]
    return permuted(unfolded(call), [d % call.input.value.ndim for d in dims])


@rule(torch.movedim, "movedim", any_batch_axis=True)
def movedim(call: Call) -> Compiled:
    """Move one axis."""
    given = call.bind("input", "source", "destination")
    ndim = call.input.value.ndim
    marks = torch.empty(tuple(range(2, 2 + ndim)), device="meta")
    return permuted(unfolded(call), [s - 2 for s in marks.movedim(given["source"], given["destination"]).shape])


def permuted(source: Random, order: list[int]) -> Compiled:
    """Put the axes of a signal in another order."""
    layout = source.layout
    moved = tuple(layout.position_of(a) for a in order if a in layout.position_axes)
    sizes = tuple(layout.positions[i] for i in moved)
    out = Layout(sizes, order.index(layout.channel_axis), batch_axis=order.index(layout.batch_axis))
    return Compiled(Rearranged(moved, sizes), [source], Signal(out, source.signal.fields))


@rule(operator.getitem, any_batch_axis=True)
def select(call: Call) -> Compiled:
    """Pick positions: ``x[:, 0]`` of tokens, ``x[:, :, ::2]`` of pixels."""
    source = unfolded(call)
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
    return mapped(call, source, matrices or dropped, kept=bool(matrices))


@rule(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, F.pad)
def zero_pad(call: Call) -> Compiled:
    """Zeros around the positions, as many on each side as wanted."""
    source = unfolded(call)
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
