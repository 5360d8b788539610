"""The recursion on given inputs: first the pairs (x, x), which give all variances, then the others in tiles."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.pairs import Moments, Side, Tile
from ntkgap.kernels.infinite.recursion import Recursion

# Kernels of a tile take this many bytes: on a CPU they stay in the cache of a core from one layer to the next, on
# a GPU they keep it busy.
TILE_BYTES = {"cpu": 1 << 19, "cuda": 1 << 26}

# Tiles are at most this wide, so that in a symmetric kernel little is computed twice.
TILE_COLUMNS = 512

# A ``map``: the results of a function on every item, in order.
RunAll = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


class Evaluation:
    """Kernels of one model on given inputs.

    Args:
        recursion: the compiled model.
        x1: inputs [n1, ...].
        x2: inputs [n2, ...]; x1 if not given.
        with_ntk: whether Θ is wanted.
        memory_budget: bytes for everything but inputs and results; what fits the cache if not given.
        dtype: of the arithmetic; that of x1 if not given.

    Raises:
        KernelError: if a single pair does not fit the budget.
    """

    def __init__(
        self,
        recursion: Recursion,
        x1: Tensor,
        x2: Tensor | None,
        with_ntk: bool,
        memory_budget: int | None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.recursion, self.with_ntk = recursion, with_ntk
        self.symmetric = x2 is None
        dtype = x1.dtype if dtype is None else dtype
        values = [recursion.functions_of_input(x, dtype) for x in (x1, x2) if x is not None]
        sides = [Side(len(x), v, dtype, x.device) for x, v in zip((x1, x2), values, strict=False) if x is not None]
        self.left, self.right = sides[0], sides[-1]
        # Every core works on tiles of its own. Differentiation records its graph in one thread.
        on_cores = x1.device.type == "cpu" and not torch.is_grad_enabled()
        self.threads = torch.get_num_threads() if on_cores else 1
        kernel = recursion.entries * dtype.itemsize  # bytes of a pair in the widest layer
        self.pairs = max(1, TILE_BYTES.get(x1.device.type, TILE_BYTES["cpu"]) // kernel)
        if memory_budget is None:
            return
        if isinstance(memory_budget, bool) or not isinstance(memory_budget, int) or memory_budget <= 0:
            raise KernelError(f"memory_budget must be a positive number of bytes, got {memory_budget!r}")
        affordable = memory_budget // (recursion.live * kernel)
        if affordable < 1:
            raise KernelError(
                f"memory_budget={memory_budget:,} bytes is too small: one pair of inputs needs "
                f"{recursion.live * kernel:,} bytes"
            )
        self.threads = min(self.threads, affordable)
        self.pairs = min(self.pairs, affordable // self.threads)

    def run(self, diagonal: bool, progress: bool) -> Moments:
        """All pairs, [n1, n2], or with ``diagonal`` those of equal index, [n1]."""
        with each_in_its_thread(self.threads) as run_all:
            own = self._record(self.left, run_all)
            if not self.symmetric:
                self._record(self.right, run_all)
            if diagonal:
                return own if self.symmetric else self._matched(self.left, self.right, False, run_all)[0]
            kernels = own.map(lambda k: k.new_empty(self.left.n, self.right.n))
            tiles = list(self._tiles())
            done = run_all(lambda tile: self._fill(kernels, *tile), tiles)
            for _ in track(done, "infinite-width kernel", len(tiles), disable=not progress, transient=True):
                pass
        if self.symmetric:  # exact where x = x'
            for kernel, values in _both(kernels, own):
                kernel.diagonal().copy_(values)
        return kernels

    def _record(self, side: Side, run_all: RunAll) -> Moments:
        """Kernels of every input with itself, [n]; notes the variances on the way."""
        own, tiles = self._matched(side, side, True, run_all)
        for key in tiles[0].noted:
            side.variances[key] = torch.cat([tile.noted[key] for tile in tiles], -1)
        return own

    def _matched(self, left: Side, right: Side, recording: bool, run_all: RunAll) -> tuple[Moments, list[Tile]]:
        """Pairs of equal index, [n]."""
        size = max(1, min(self.pairs, -(-left.n // self.threads)))
        chunks = [slice(start, min(start + size, left.n)) for start in range(0, left.n, size)]
        tiles = [Tile(left, right, chunk, chunk, True, recording, self.with_ntk) for chunk in chunks]
        return Moments.cat(list(run_all(self.recursion.evaluate, tiles))), tiles

    def _fill(self, kernels: Moments, rows: slice, cols: slice) -> None:
        """Evaluate one tile and put it in its place."""
        tile = Tile(self.left, self.right, rows, cols, matched=False, recording=False, with_ntk=self.with_ntk)
        for kernel, block in _both(kernels, self.recursion.evaluate(tile)):
            self._place(kernel, block, rows, cols)

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


@contextmanager
def each_in_its_thread(threads: int) -> Iterator[RunAll]:
    """A ``map`` that runs its calls in threads, torch on one core in each; the plain one where one is enough.

    Whole tiles in parallel wait for each other once, the operations of one tile would at every step.
    """
    if threads == 1:
        yield map
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_grad_enabled, initargs=(False,)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(before)


def _both(a: Moments, b: Moments) -> Iterator[tuple[Tensor, Tensor]]:
    yield a.nngp, b.nngp
    if a.ntk is not None and b.ntk is not None:
        yield a.ntk, b.ntk
