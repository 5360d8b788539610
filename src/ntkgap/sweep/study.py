"""What a sweep has to know of a study: its cells, and the function that computes one."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Cell = dict[str, Any]
"""One point of a study's grid: a JSON-serializable configuration, and nothing but it decides the result.

What stands under a key ``WHERE``, at any depth, only says where on this machine something lies that the rest names
by its content: workers are told, but it is no part of what the cell is, and the store does not keep it."""

WHERE = "where"

Result = dict[str, Any]
"""What a cell yields: ``scalars`` (name -> number or None), ``curves`` (name -> list), ``notes`` (list of
sentences), and ``diverged`` (whether something did not converge, which is a finding, not a failure)."""


Supplies = dict[str, Any]
"""What a function needs that is no part of a cell, such as where files lie; JSON-serializable."""


class Study(Protocol):
    """Anything that can be swept.

    Attributes:
        name: short name, one word.
        version: goes up whenever the same configuration would yield other numbers.
        compute: ``"package.module:function"``; the function maps a ``Cell`` to a ``Result``. Where there are
            supplies it is given them as well.
        axes: keys of a cell that tell it from the others, for labels and for the order of rows.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def version(self) -> int: ...  # noqa: D102

    @property
    def compute(self) -> str: ...  # noqa: D102

    @property
    def axes(self) -> Sequence[str]: ...  # noqa: D102

    def cells(self) -> list[Cell]:
        """Every point of the grid."""
        ...

    def cost(self, cell: Cell) -> float:
        """Relative cost of a cell; the most expensive are computed first."""
        ...

    def supplies(self) -> Supplies:
        """What workers need besides cells, as the user gave it to this process: never read from a store."""
        ...

    def configuration(self) -> Mapping[str, Any]:
        """What the study was asked to do, JSON-serializable; enough to build it again."""
        ...


def identity(cell: Mapping[str, Any]) -> Cell:
    """What a cell is, wherever its files lie: the configuration without what stands under ``WHERE``."""
    return {
        key: identity(value) if isinstance(value, dict) else value for key, value in cell.items() if key != WHERE
    }


def describe(cell: Mapping[str, Any], axes: Sequence[str]) -> str:
    """One line for a person: the values on the axes; an empty text is not one."""
    places = {axis: cell[axis] for axis in axes if cell.get(axis, "") != ""}
    return " · ".join(v if isinstance(v, str) else f"{axis} {v}" for axis, v in places.items())
