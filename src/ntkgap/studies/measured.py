"""What was measured in one cell, as numbers again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

from ntkgap.errors import StoreError
from ntkgap.one_line import one_line
from ntkgap.studies.statistics import Interval, median_interval
from ntkgap.sweep.files import number
from ntkgap.sweep.stored import REMEDY, StoredCell, check_place

# What is appended to a scalar's name where a cell knows between which bounds it lies.
LOW, HIGH = "_low", "_high"


class _Found(dict[str, Any]):
    """What the file of a cell holds by name; asked for anything else it names the file."""

    def __init__(self, stored: StoredCell, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._directory = stored.directory

    def __missing__(self, name: str) -> NoReturn:
        raise StoreError(f"the result in {self._directory} is damaged (it has no {name!r}); {REMEDY}")


@dataclass(frozen=True)
class Measured:
    """The findings in one cell.

    Attributes:
        cell: its configuration.
        scalars: by name; NaN is a number that could not be decided, infinity one that diverged. Those whose
            names begin with ``seconds`` were read from a clock: they differ from run to run.
        curves: by name.
        notes: remarks.
        diverged: whether a training diverged.
        seconds: that the cell took.
        not_asked: reasons by scalar, as of ``Findings``.
    """

    cell: Mapping[str, Any]
    scalars: Mapping[str, float]
    curves: Mapping[str, list[float]]
    notes: list[str]
    diverged: bool
    seconds: float
    not_asked: Mapping[str, str] = field(default_factory=dict)

    __repr__ = one_line

    @classmethod
    def of(cls, stored: StoredCell) -> Self:
        """Read a cell that is done.

        Raises:
            StoreError: if its files are damaged.
        """
        check_place(stored)
        result = stored.result()
        return cls(
            stored.cell,
            _Found(stored, {k: float(number(v)) for k, v in result["scalars"].items()}),
            _Found(
                stored,
                {
                    k: [v if type(v) is float else float(number(v)) for v in curve]
                    for k, curve in result["curves"].items()
                },
            ),
            result["notes"],
            result["diverged"],
            result["seconds"],
            result.get("not_asked", {}),
        )

    def bounds(self, name: str) -> tuple[float, float]:
        """Between what a scalar lies by the cell's own account; both are the scalar where nothing is said."""
        value = self.scalars[name]
        return self.scalars.get(name + LOW, value), self.scalars.get(name + HIGH, value)

    @property
    def width(self) -> int:
        """The network's width."""
        return self.cell["width"]

    @property
    def seed(self) -> int:
        """The seed."""
        return self.cell["seed"]


def median_curve(
    cells: Sequence[Measured], x: str, y: str, scale: float = 1.0
) -> tuple[list[float], list[Interval]]:
    """Medians with intervals over seeds at every place at which each seed has a number, and these places.

    Args:
        cells: of one width.
        x: name of the curve of places, the same for all cells.
        y: name of the curve.
        scale: what y is multiplied by.
    """
    columns = zip(*(cell.curves[y] for cell in cells), strict=True)
    known = [
        (place, median_interval([scale * value for value in column]))
        for place, column in zip(cells[0].curves[x], columns, strict=True)
        if not any(map(math.isnan, column))
    ]
    return [place for place, _ in known], [interval for _, interval in known]
