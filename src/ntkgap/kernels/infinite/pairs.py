"""Pairs of inputs a kernel is evaluated on: inputs on either side, and tiles of pairs that stay in the cache."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


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

    @staticmethod
    def cat(parts: "list[Moments]") -> "Moments":
        """Put tiles of matched pairs one behind the other."""
        ntks = [part.ntk for part in parts if part.ntk is not None]
        return Moments(torch.cat([part.nngp for part in parts]), torch.cat(ntks) if ntks else None)


@dataclass
class Side:
    """Inputs on one side of the pairs, with what the pairs (x, x) have shown.

    Attributes:
        n: number of inputs.
        data: values that depend on the input alone, by step, [n, ...].
        dtype: of the arithmetic.
        device: of the inputs.
        variances: what recording tiles have noted, put together, [*positions, n]; of attention, the weights [T, T,
        n].
    """

    n: int
    data: dict[str, Tensor]
    dtype: torch.dtype
    device: torch.device
    variances: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    _channels_last: dict[tuple[str, int, int], Tensor] = field(default_factory=dict)

    def features(self, name: str, channel_axis: int, batch_axis: int) -> Tensor:
        """A value with the batch after its positions and the channels last, [*positions, n, channels]."""
        key = (name, channel_axis, batch_axis)
        if key not in self._channels_last:
            self._channels_last[key] = (
                self.data[name].to(self.dtype).movedim((batch_axis, channel_axis), (-2, -1)).contiguous()
            )
        return self._channels_last[key]


@dataclass
class Tile:
    """Pairs (left[i], right[j]): all of rows × cols, or row by row those with i = j.

    Attributes:
        left, right: the two sides.
        rows, cols: which inputs of each.
        matched: pair the inputs one by one; the tile has one axis then, else two.
        recording: the pairs are (x, x): their variances are not known yet, but noted.
        with_ntk: whether Θ is wanted.
        noted: variances Σ(x, x) at equal positions, by activation or normalisation and field, [*positions, b].
    """

    left: Side
    right: Side
    rows: slice
    cols: slice
    matched: bool
    recording: bool
    with_ntk: bool
    noted: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of the tile: one if inputs are paired one by one, else two."""
        rows = self.rows.stop - self.rows.start
        return (rows,) if self.matched else (rows, self.cols.stop - self.cols.start)

    def inner(self, name: str, channel_axis: int, batch_axis: int, position_pairs: bool) -> Tensor:
        """⟨x_p, x'_q⟩ / channels of a value that depends on the input alone."""
        a = self.left.features(name, channel_axis, batch_axis)[..., self.rows, :]
        b = self.right.features(name, channel_axis, batch_axis)[..., self.cols, :]
        positions, channels = a.shape[:-2], a.shape[-1]
        if not position_pairs:
            products = (a * b).sum(-1) if self.matched else a @ b.mT
            return products / channels
        a, b = a.flatten(0, -3) if positions else a[None], b.flatten(0, -3) if positions else b[None]
        if self.matched:
            products = torch.einsum("pbk,qbk->pqb", a, b)
        else:
            products = (a.flatten(0, 1) @ b.flatten(0, 1).mT).view(*a.shape[:2], *b.shape[:2]).transpose(1, 2)
        return (products / channels).reshape(*positions, *positions, *products.shape[2:])

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


def own_positions(x: Tensor, positions: int) -> Tensor:
    """Entries of equal positions, [*p, *p, *tile] -> [*p, *tile]."""
    sizes, tile = x.shape[:positions], x.shape[2 * positions :]
    total = math.prod(sizes)
    return x.reshape(total, total, *tile).diagonal(0, 0, 1).movedim(-1, 0).reshape(*sizes, *tile)


def with_own_positions(x: Tensor, own: Tensor) -> Tensor:
    """Replace the entries of equal positions, [*p, *p, *tile] by those of [*p, *tile]."""
    total = math.prod(own.shape[: (x.ndim - own.ndim)])
    tile = own.shape[x.ndim - own.ndim :]
    flat = x.reshape(total, total, *tile)
    return flat.diagonal_scatter(own.reshape(total, *tile).movedim(0, -1), 0, 0, 1).reshape(x.shape)
