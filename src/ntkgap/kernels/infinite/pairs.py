"""Pairs of inputs a kernel is evaluated on: inputs on either side, and tiles of pairs that stay in the cache."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple, cast

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.functions_of_input import FunctionsOfInput

# Squares of smaller numbers have not all their digits in float64.
SMALLEST_INPUT = torch.finfo(torch.float64).tiny ** 0.5


class Moments(NamedTuple):
    """Kernels of one field on a tile of pairs.

    Axes: the positions of the first input, then those of the second (left out where only equal positions are
    followed), then the tile's pairs.
    """

    nngp: Tensor  # Σ
    ntk: Tensor | None  # Θ; None where no parameter has been met or none is asked for

    def map(self, function: Callable[[Tensor], Tensor]) -> "Moments":
        """Apply a linear map to both."""
        return Moments(function(self.nngp), None if self.ntk is None else function(self.ntk))


@dataclass
class Side:
    """Inputs on one side of the pairs, with what the pairs (x, x) have shown.

    Attributes:
        x: the inputs [n, ...].
        functions: values that depend on the input alone, by step.
        integers: whether these take integers as they are; else they are made numbers of float64.
        at_once: for how many inputs these are computed at once.
        keeps: whether they are kept; else they are computed anew for every tile.
        variances: what recording tiles have noted, put together, [*positions, n]; of attention, the weights [T, T,
        n].
    """

    x: Tensor
    functions: FunctionsOfInput
    integers: bool
    at_once: int
    keeps: bool
    variances: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    dtype: torch.dtype = torch.float64
    _kept: dict[tuple[str, int, int], Tensor] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def n(self) -> int:
        """Number of inputs."""
        return len(self.x)

    @property
    def device(self) -> torch.device:
        """Of the inputs."""
        return self.x.device

    def values(self, name: str, rows: slice) -> Tensor:
        """A value on some inputs, as the step gives it."""
        x = self.x[rows]
        return self.functions(x if self.integers else x.to(self.dtype), self.dtype)[name]

    def features(self, name: str, channel_axis: int, batch_axis: int, rows: slice) -> Tensor:
        """A value on some inputs, the batch behind its positions, then the channels: [*positions, b, channels]."""
        key = (name, channel_axis, batch_axis)
        if not self.keeps:
            return self._laid_out(*key, rows)
        with self._lock:  # tiles in other threads wait until it is there
            if key not in self._kept:
                self._kept[key] = self._whole(*key)
        return self._kept[key][..., rows, :]

    def _whole(self, name: str, channel_axis: int, batch_axis: int) -> Tensor:
        """The features of all inputs."""
        whole: Tensor | None = None
        for start in range(0, self.n, self.at_once):
            rows = slice(start, min(start + self.at_once, self.n))
            part = self._laid_out(name, channel_axis, batch_axis, rows)
            if whole is None and part.shape[-2] == self.n:
                return part
            if whole is None:
                whole = part.new_empty(*part.shape[:-2], self.n, part.shape[-1])
            whole[..., rows, :] = part
        return cast(Tensor, whole)

    def _laid_out(self, name: str, channel_axis: int, batch_axis: int, rows: slice) -> Tensor:
        x = self.values(name, rows).to(self.dtype)
        return x.movedim((batch_axis, channel_axis), (-2, -1)).contiguous()


@dataclass
class Tile:
    """Pairs (left[i], right[j]): all of rows × cols, or row by row those with i = j.

    Attributes:
        left, right: the two sides.
        rows, cols: which inputs of each.
        matched: pair the inputs one by one; the tile has one axis then, else two.
        recording: the pairs are (x, x): their variances are not known yet, but noted.
        with_ntk: whether Θ is wanted.
        single: whether float32 does for what no small difference is taken of any more.
        noted: variances Σ(x, x) at equal positions, by activation or normalization and field, [*positions, b].
    """

    left: Side
    right: Side
    rows: slice
    cols: slice
    matched: bool
    recording: bool
    with_ntk: bool
    single: bool = False
    noted: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of the tile: one if inputs are paired one by one, else two."""
        rows = self.rows.stop - self.rows.start
        return (rows,) if self.matched else (rows, self.cols.stop - self.cols.start)

    def inner(self, name: str, channel_axis: int, batch_axis: int, position_pairs: bool) -> Tensor:
        """⟨x_p, x'_q⟩ / channels of a value that depends on the input alone."""
        a = self.left.features(name, channel_axis, batch_axis, self.rows)
        b = a if self.recording else self.right.features(name, channel_axis, batch_axis, self.cols)
        positions, channels = a.shape[:-2], a.shape[-1]
        if not position_pairs:
            products = (a * b).sum(-1) if self.matched else a @ b.mT
            if self.recording:
                _refuse_lost(a, products)
            return self._without_own(products.div_(channels))
        a, b = a.flatten(0, -3) if positions else a[None], b.flatten(0, -3) if positions else b[None]
        if self.matched:
            products = torch.einsum("pbk,qbk->pqb", a, b)
            if self.recording:
                _refuse_lost(a, products.diagonal(0, 0, 1))
        else:
            products = (a.flatten(0, 1) @ b.flatten(0, 1).mT).view(*a.shape[:2], *b.shape[:2]).transpose(1, 2)
        products = self._without_own(products / channels)
        return products.reshape(*positions, *positions, *products.shape[2:])

    def _without_own(self, products: Tensor) -> Tensor:
        """Zero for the pairs (x, x) in tiles of others: they are known, and would need the longest series."""
        if not self.matched and self.left is self.right and self.rows.start == self.cols.start:
            products.diagonal(0, -2, -1).zero_()
        return products

    def recall(self, key: tuple[str, int], position_pairs: bool) -> tuple[Tensor, Tensor]:
        """Variances of both inputs of every pair, shaped to broadcast against Σ."""
        q1 = self.left.variances[key][..., self.rows]
        q2 = self.right.variances[key][..., self.cols]
        return self.spread(q1, q2, position_pairs)

    def spread(self, q1: Tensor, q2: Tensor, position_pairs: bool) -> tuple[Tensor, Tensor]:
        """Shape a quantity of either input, [*positions, b], to broadcast against Σ."""
        positions = q1.ndim - 1
        if not self.matched:
            q1, q2 = q1[..., :, None], q2[..., None, :]
        if position_pairs:
            q1 = q1[(slice(None),) * positions + (None,) * positions]
            q2 = q2[(None,) * positions]
        return q1, q2


def _refuse_lost(x: Tensor, squares: Tensor) -> None:
    """Refuse inputs [*positions, b, channels] so small that their squares are zero in float64.

    Raises:
        KernelError: with the remedy.
    """
    if float(squares.detach().min()) >= torch.finfo(torch.float64).tiny:
        return
    axes = [axis for axis in range(x.ndim) if axis != x.ndim - 2]
    largest = torch.linalg.vector_norm(x.detach(), math.inf, axes)
    if bool(((largest > 0) & (largest < SMALLEST_INPUT)).any()):
        raise KernelError(
            f"inputs as small as {float(largest[largest > 0].min()):.1e} have squares that underflow in "
            "torch.float64; scale the inputs up"
        )


def own_positions(x: Tensor, positions: int) -> Tensor:
    """Entries of equal positions, [*p, *p, *tile] -> [*p, *tile]."""
    if not positions:
        return x
    sizes, tile = x.shape[:positions], x.shape[2 * positions :]
    total = math.prod(sizes)
    return x.reshape(total, total, *tile).diagonal(0, 0, 1).movedim(-1, 0).reshape(*sizes, *tile)


def with_own_positions(x: Tensor, own: Tensor) -> Tensor:
    """Replace the entries of equal positions, [*p, *p, *tile] by those of [*p, *tile]."""
    if x.ndim == own.ndim:
        return own
    total = math.prod(own.shape[: (x.ndim - own.ndim)])
    tile = own.shape[x.ndim - own.ndim :]
    flat = x.reshape(total, total, *tile)
    return flat.diagonal_scatter(own.reshape(total, *tile).movedim(0, -1), 0, 0, 1).reshape(x.shape)
