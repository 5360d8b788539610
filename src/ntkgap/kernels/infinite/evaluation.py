"""The recursion on given inputs: first the pairs (x, x), which give all variances, then the others in tiles."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ntkgap.kernels.infinite.magnitude import check_range, check_resolution
from ntkgap.kernels.infinite.pairs import Moments, Side, Tile
from ntkgap.kernels.infinite.plan import Plan
from ntkgap.kernels.infinite.recursion import Recursion
from ntkgap.kernels.progress import tracked
from ntkgap.kernels.workers import aside, one_by_one


class Evaluation:
    """Kernels of one model on given inputs.

    The arithmetic is float64 whatever the inputs are: slopes of nonlinearities with kinks hang on √(1 − ρ²), of
    which float32 loses half the digits between inputs that are nearly parallel, as all are behind many layers.

    Args:
        recursion: the compiled model.
        x1: inputs [n1, ...].
        x2: inputs [n2, ...]; x1 if not given.
        with_ntk: whether Θ is wanted.
        memory_budget: bytes for everything but inputs and results; what fits the cache if not given.
        dtype: of the results.
        integers: whether the model takes integers as they are.

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
        dtype: torch.dtype,
        integers: bool = False,
    ) -> None:
        self.recursion, self.with_ntk, self.dtype = recursion, with_ntk, dtype
        self.symmetric = x2 is None
        # Differentiation records its graph in one thread, and keeps what it has computed.
        self.recording_gradients = torch.is_grad_enabled()
        cores = torch.get_num_threads() if x1.device.type == "cpu" else 1
        self.plan = Plan(recursion, x1.device.type, cores, memory_budget, len(x1) + (0 if x2 is None else len(x2)))
        self.left = self._side(x1, integers)
        self.right = self.left if x2 is None else self._side(x2, integers)
        # float32 results do not need all digits of what is not subtracted any more.
        self.single = dtype == torch.float32 and not self.recording_gradients

    def _side(self, x: Tensor, integers: bool) -> Side:
        functions = self.recursion.functions_of_input
        if self.recording_gradients:
            return Side(x, functions, integers, len(x), True)
        return Side(x, functions, integers, self.plan.examples_at_once, self.plan.keeps_features)

    def run(self, diagonal: bool, progress: bool) -> Moments:
        """All pairs, [n1, n2], or with ``diagonal`` those of equal index, [n1]."""
        pairs = self.left.n * (1 if diagonal else self.right.n)
        small = self.plan.lanes(pairs) == 1 and self.left.x.device.type == "cpu"
        return aside(lambda: self._run(diagonal, progress)) if small else self._run(diagonal, progress)

    def _run(self, diagonal: bool, progress: bool) -> Moments:
        left = self._record(self.left)
        right = left if self.symmetric else self._record(self.right)

        def check(sides: tuple[Moments, Moments]) -> None:
            check_resolution(*sides, self.dtype, diagonal)

        list(self._each(check, [(left, right)], 1))  # a forked process cannot split work over cores by itself
        if diagonal:
            matched = left if self.symmetric else self._matched(self.left, self.right)
            return check_range(matched.map(lambda k: k.to(self.dtype)))
        kernels = left.map(lambda k: k.new_empty((self.left.n, self.right.n), dtype=self.dtype))
        lanes, height, width = self.plan.tiles(self.left.n, self.right.n)
        tiles = list(self._tiles(height, width))
        done = self._each(lambda tile: self._fill(kernels, *tile), tiles, lanes)
        for _ in tracked(done, "infinite-width kernel", progress, len(tiles)):
            pass
        if self.symmetric:  # exact where x = x'
            for kernel, values in _both(kernels, left):
                kernel.diagonal().copy_(values)
        return kernels

    def _each(self, function: Callable[[Any], Any], items: Iterable[Any], lanes: int) -> Iterator[tuple[int, Any]]:
        """What a function gives for every item, on several cores where that is possible."""
        if self.recording_gradients or self.left.x.device.type != "cpu":
            return enumerate(map(function, items))
        return one_by_one(function, items, lanes)

    def _record(self, side: Side) -> Moments:
        """Kernels of every input with itself, [n]; notes the variances on the way."""
        own, noted = self._over_matched(side, side, recording=True)
        side.variances |= noted
        return own

    def _matched(self, left: Side, right: Side) -> Moments:
        """Pairs of equal index, [n]."""
        return self._over_matched(left, right, recording=False)[0]

    def _over_matched(
        self, left: Side, right: Side, recording: bool
    ) -> tuple[Moments, dict[tuple[str, int], Tensor]]:
        """Kernels of pairs of equal index, [n], and what recording tiles note, [..., n]."""
        lanes, size, _ = self.plan.tiles(left.n, 1)
        chunks = [slice(start, min(start + size, left.n)) for start in range(0, left.n, size)]
        whole: dict[Any, Tensor] = {}

        def evaluate(chunk: slice) -> dict[Any, Tensor]:
            tile = Tile(left, right, chunk, chunk, True, recording, self.with_ntk, self.single)
            moments = self.recursion.evaluate(tile)
            found = {"nngp": moments.nngp} | tile.noted
            return found if moments.ntk is None else found | {"ntk": moments.ntk}

        for i, found in self._each(evaluate, chunks, lanes):
            if len(chunks) == 1:
                whole = found
                break
            if not whole:
                whole = {key: value.new_empty(*value.shape[:-1], left.n) for key, value in found.items()}
            for key, value in found.items():
                whole[key][..., chunks[i]] = value
        self.plan.reserve(sum(value.nbytes for value in whole.values()))
        return Moments(whole.pop("nngp"), whole.pop("ntk", None)), whole

    def _fill(self, kernels: Moments, rows: slice, cols: slice) -> None:
        """Evaluate one tile and put it in its place."""
        tile = Tile(self.left, self.right, rows, cols, False, False, self.with_ntk, self.single)
        for kernel, block in _both(kernels, self.recursion.evaluate(tile)):
            self._place(kernel, block, rows, cols)

    def _tiles(self, height: int, width: int) -> Iterator[tuple[slice, slice]]:
        """Blocks of all pairs; of a symmetric kernel those on and above the diagonal."""
        for i in range(0, self.left.n, height):
            rows = slice(i, min(i + height, self.left.n))
            for j in range(i if self.symmetric else 0, self.right.n, width):
                yield rows, slice(j, min(j + width, self.right.n))

    def _place(self, kernel: Tensor, block: Tensor, rows: slice, cols: slice) -> None:
        block = block.to(self.dtype)
        check_range(Moments(block, None))
        kernel[rows, cols] = block
        if self.symmetric:
            kernel[cols, rows] = block.mT
            if rows.start == cols.start:  # the rows' own square is symmetric up to rounding
                square = block[:, : len(block)]
                kernel[rows, rows] = (square + square.mT) / 2


def _both(a: Moments, b: Moments) -> Iterator[tuple[Tensor, Tensor]]:
    yield a.nngp, b.nngp
    if a.ntk is not None and b.ntk is not None:
        yield a.ntk, b.ntk
