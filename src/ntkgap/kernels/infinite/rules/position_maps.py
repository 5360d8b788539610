"""Linear maps M of positions act on both inputs, K ← M K Mᵀ; all pairs of positions meet."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ntkgap.kernels.infinite.pairs import Tile
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Operation, Random, State
from ntkgap.kernels.infinite.signals import Signal


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


def _is_selection(matrix: Tensor) -> bool:
    """Whether every output is one input: then equal positions go to equal positions."""
    return bool((((matrix != 0).sum(1) == 1) & ((matrix == 1).sum(1) == 1)).all())


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
class Multiple(Operation):
    """A number times a signal."""

    factor: float
    scales = "kept"

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Kernels scale with its square."""
        return [moments.map(lambda k: k * self.factor**2) for moments in states[0]]


def mapped(call: Call, source: Random, matrices: dict[int, Tensor], kept: bool) -> Compiled:
    """Apply matrices to some tensor axes of a signal."""
    layout = source.layout
    axes = layout.position_axes
    sizes = tuple(
        len(matrices[a]) if a in matrices else size for a, size in zip(axes, layout.positions, strict=True)
    )
    gone = [] if kept else list(matrices)
    operation = PositionMap(tuple(matrices.get(a) for a in axes), tuple(a not in gone for a in axes))
    out = replace(layout, positions=sizes).without(gone)
    return Compiled(operation, [source], Signal(out, source.signal.fields))


def unfolded(call: Call, source: Random | None = None) -> Random:
    """A signal, the first argument if not given, if its positions are axes of their own.

    Raises:
        ModelError: if they are folded into the features.
    """
    source = call.input if source is None else source
    if source.layout.flat:
        raise call.refusal("comes after Flatten, where positions are folded into the features; put it before")
    return source
