"""The recursion on given inputs: first the pairs (x, x), which give all variances, then the others in tiles."""

from collections.abc import Iterator

import torch
from rich.progress import track
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.pairs import Moments, Side, Tile
from ntkgap.kernels.infinite.recursion import Recursion

# Kernels of a tile take this many bytes: they stay in the cache of a core from one layer to the next.
TILE_BYTES = 1 << 19

# Tiles are at most this wide, so that in a symmetric kernel little is computed twice.
TILE_COLUMNS = 512


class Evaluation:
    """Kernels of one model on given inputs.

    Args:
        recursion: the compiled model.
        x1: inputs [n1, ...].
        x2: inputs [n2, ...]; x1 if not given.
        with_ntk: whether Θ is wanted.
        memory_budget: bytes for everything but inputs and results; what fits the cache if not given.

    Raises:
        KernelError: if a single pair does not fit the budget.
    """

    def __init__(
        self, recursion: Recursion, x1: Tensor, x2: Tensor | None, with_ntk: bool, memory_budget: int | None
    ) -> None:
        self.recursion, self.with_ntk = recursion, with_ntk
        self.symmetric = x2 is None
        self.left = Side(len(x1), recursion.data(x1))
        self.right = self.left if x2 is None else Side(len(x2), recursion.data(x2))
        kernel = recursion.entries * x1.element_size()  # bytes of a pair in the widest layer
        if memory_budget is None:
            self.pairs = max(1, TILE_BYTES // kernel)
            return
        self.pairs = memory_budget // (recursion.live * kernel)
        if self.pairs < 1:
            raise KernelError(
                f"memory_budget={memory_budget:,} bytes is too small: one pair of inputs needs "
                f"{recursion.live * kernel:,} bytes"
            )
        self.pairs = min(self.pairs, max(1, TILE_BYTES // kernel))

    def run(self, diagonal: bool, progress: bool) -> Moments:
        """All pairs, [n1, n2], or with ``diagonal`` those of equal index, [n1]."""
        own = self._matched(self.left, self.left, recording=True)
        if not self.symmetric:
            self._matched(self.right, self.right, recording=True)
        if diagonal:
            return own if self.symmetric else self._matched(self.left, self.right, recording=False)
        kernels: Moments | None = None
        tiles = list(self._tiles())
        for rows, cols in track(tiles, "infinite-width kernel", disable=not progress, transient=True):
            tile = self.recursion.evaluate(self._tile(self.left, self.right, rows, cols))
            if kernels is None:
                kernels = tile.map(lambda k: k.new_empty(self.left.n, self.right.n))
            for kernel, block in _both(kernels, tile):
                self._place(kernel, block, rows, cols)
        assert kernels is not None
        if self.symmetric:  # exact where x = x'
            for kernel, values in _both(kernels, own):
                kernel.diagonal().copy_(values)
        return kernels

    def _matched(self, left: Side, right: Side, recording: bool) -> Moments:
        """Pairs of equal index, [n]."""
        parts = []
        for start in range(0, left.n, self.pairs):
            chosen = slice(start, min(start + self.pairs, left.n))
            parts.append(
                self.recursion.evaluate(
                    Tile(left, right, chosen, chosen, matched=True, recording=recording, with_ntk=self.with_ntk)
                )
            )
        return Moments.cat(parts)

    def _tile(self, left: Side, right: Side, rows: slice, cols: slice) -> Tile:
        return Tile(left, right, rows, cols, matched=False, recording=False, with_ntk=self.with_ntk)

    def _tiles(self) -> Iterator[tuple[slice, slice]]:
        """Blocks of all pairs; of a symmetric kernel those on and above the diagonal."""
        n1, n2 = self.left.n, self.right.n
        columns = min(n2, TILE_COLUMNS, self.pairs)
        height = min(n1, max(1, self.pairs // columns))
        for i in range(0, n1, height):
            rows = slice(i, min(i + height, n1))
            for j in range(i if self.symmetric else 0, n2, columns):
                yield rows, slice(j, min(j + columns, n2))

    def _place(self, kernel: Tensor, block: Tensor, rows: slice, cols: slice) -> None:
        if self.symmetric and rows.start == cols.start:
            height = len(block)  # the rows' own square is symmetric up to rounding
            square = (block[:, :height] + block[:, :height].mT) / 2
            block = torch.cat([square, block[:, height:]], 1)
        kernel[rows, cols] = block
        if self.symmetric:
            kernel[cols, rows] = block.mT


def _both(a: Moments, b: Moments) -> Iterator[tuple[Tensor, Tensor]]:
    yield a.nngp, b.nngp
    if a.ntk is not None and b.ntk is not None:
        yield a.ntk, b.ntk
