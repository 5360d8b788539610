"""Charts of square matrices, in percent: what was predicted, and what was measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkgap.studies.figures import MatrixFigure
from ntkgap.studies.measured import Measured


@dataclass(frozen=True)
class MatrixPanel:
    """One matrix; the same for a page as ``Panel``.

    Attributes:
        title: what it is of.
        x_label: what a column is.
        y_label: what a row is.
        entries: in percent; NaN where nothing was measured.
    """

    title: str
    x_label: str
    y_label: str
    entries: np.ndarray
    note: str = ""

    def csv(self) -> str:
        """Row, column and entry, from one on."""
        lines = [
            f"{t + 1},{s + 1},{'' if math.isnan(v) else f'{v:.4g}'}" for (t, s), v in np.ndenumerate(self.entries)
        ]
        return "\n".join(["row,column,percent", *lines]) + "\n"

    @property
    def empty(self) -> bool:
        """Whether no entry is a number."""
        return bool(np.isnan(self.entries).all())

    @property
    def words(self) -> str:
        """The matrix for those who do not see it."""
        rows = [", ".join("none" if math.isnan(v) else f"{v:.0f}" for v in row) for row in self.entries]
        lines = "; ".join(f"{i + 1}: {row}" for i, row in enumerate(rows))
        return f"{self.title}: percent by {self.y_label} (rows) and {self.x_label}. {lines}"

    def record(self) -> dict[str, Any]:
        """What the page's script makes a chart of (``templates/charts.js``)."""
        return {"matrix": len(self.entries), "x": self.x_label, "y": self.y_label, "csv": self.csv()}


def matrix_panels(spec: MatrixFigure, cells: Mapping[str, Sequence[Measured]]) -> list[MatrixPanel]:
    """Means over seeds, a panel for every problem and matrix that it has."""
    panels = []
    for problem, found in cells.items():
        for matrix in spec.matrices:
            having = [cell for cell in found if matrix.curve in cell.curves]
            if not having:
                continue
            width = (max if matrix.widest else min)(cell.width for cell in having)
            entries = np.array([cell.curves[matrix.curve] for cell in having if cell.width == width])
            size = math.isqrt(entries.shape[1])
            mean = 100 * entries.mean(axis=0).reshape(size, size)
            title = f"{problem}: {matrix.label.format(width=width)}"
            panels.append(MatrixPanel(title, spec.x_label, spec.y_label, mean))
    return panels
