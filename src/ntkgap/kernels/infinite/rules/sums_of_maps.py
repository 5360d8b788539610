"""Sums of linear maps of one signal, h + A h: together they are one map, and nothing is left to be correlated."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.kernels.infinite.rules.base import Compiled, Random
from ntkgap.kernels.infinite.rules.position_maps import Multiple, PositionMap
from ntkgap.kernels.infinite.signals import Signal


@dataclass(frozen=True)
class Image:
    """A signal as a map of one before it: factor times a matrix over one of its positions, if there is one."""

    source: Random
    factor: float
    axis: int | None = None
    matrix: Tensor | None = None


def sum_of_maps(a: Random, b: Random, sign: float) -> Compiled | None:
    """A ± b as one map of the nearest signal that both are maps of; None if there is none, or no single matrix."""
    for first in _images(a):
        for second in _images(b):
            if first.source.name != second.source.name:
                continue
            axes = {axis for axis in (first.axis, second.axis) if axis is not None}
            if len(axes) > 1:
                return None
            signal = Signal(a.layout, first.source.signal.fields)
            if not axes:
                return Compiled(Multiple(first.factor + sign * second.factor), [first.source], signal)
            (axis,) = axes
            size = first.source.layout.positions[axis]
            matrix = _matrix(first, size) + sign * _matrix(second, size)
            matrices: list[Tensor | None] = [None] * len(a.layout.positions)
            matrices[axis] = matrix
            operation = PositionMap(tuple(matrices), (True,) * len(matrices))
            return Compiled(operation, [first.source], signal)
    return None


def _images(signal: Random) -> Iterator[Image]:
    """The signal itself, and further and further back what it is a map of."""
    image = Image(signal, 1.0)
    yield image
    while image.source.made is not None:
        operation, source = image.source.made
        if isinstance(operation, Multiple):
            image = Image(source, image.factor * operation.factor, image.axis, image.matrix)
        elif isinstance(operation, PositionMap) and all(operation.kept):
            mapped = [i for i, matrix in enumerate(operation.matrices) if matrix is not None]
            if len(mapped) != 1 or image.axis not in (None, mapped[0]):
                return
            (axis,) = mapped
            matrix = operation.matrices[axis]
            if matrix is None:
                return
            image = Image(source, image.factor, axis, matrix if image.matrix is None else image.matrix @ matrix)
        else:
            return
        yield image


def _matrix(image: Image, size: int) -> Tensor:
    matrix = torch.eye(size, dtype=torch.float64) if image.matrix is None else image.matrix
    return image.factor * matrix.cpu()
