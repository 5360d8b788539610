"""The figure of matrices beside each other: what was predicted, and what was measured."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkgap.reporting.figures import plain
from ntkgap.reporting.paper import PaperFigure
from ntkgap.reporting.style import MEASURED, THEORY
from ntkgap.studies.figures import Matrix, MatrixFigure
from ntkgap.studies.measured import Measured

PANEL, GAP = 2.1, 0.35
LEFT, TOP, BOTTOM = 0.7, 0.75, 0.55

# Entries darker than this fraction of the scale are written in white.
DARK = 0.6


def matrix_figure(spec: MatrixFigure, cells: Mapping[str, Sequence[Measured]]) -> Figure:
    """A row of annotated matrices for every problem, in percent, means over seeds.

    Args:
        spec: what to draw.
        cells: what was measured, by problem.
    """
    columns, rows = len(spec.matrices), len(cells)
    width = LEFT + columns * (PANEL + GAP)
    height = rows * (PANEL + TOP) + BOTTOM
    figure, grid = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, FigureClass=PaperFigure)
    figure.subplots_adjust(
        LEFT / width, BOTTOM / height, 1 - GAP / width, 1 - TOP / height, GAP / PANEL, TOP / PANEL
    )
    for row, (problem, found) in zip(grid, cells.items(), strict=True):
        drawn = [_draw(ax, matrix, found) for ax, matrix in zip(row, spec.matrices, strict=True)]
        for ax, shown in zip(row, drawn, strict=True):
            if not shown:
                ax.set_axis_off()
        first = row[drawn.index(True)]
        first.set_ylabel(spec.y_label)
        first.annotate(
            plain(problem),
            (0, 1),
            (0, 26),
            xycoords="axes fraction",
            textcoords="offset points",
            fontweight="bold",
        )
    for ax in grid[-1]:
        ax.set_xlabel(spec.x_label)
    return figure


def _draw(ax: Axes, matrix: Matrix, found: Sequence[Measured]) -> bool:
    """One matrix; False where nothing was measured."""
    having = [cell for cell in found if matrix.curve in cell.curves]
    if not having:
        return False
    pick = max if matrix.widest else min
    width = pick(cell.width for cell in having)
    entries = np.array([cell.curves[matrix.curve] for cell in having if cell.width == width])
    size = math.isqrt(entries.shape[1])
    mean = 100 * entries.mean(axis=0).reshape(size, size)
    ax.imshow(mean, cmap="Blues", vmin=0, vmax=100)
    for t, s in np.ndindex(size, size):
        value = mean[t, s]
        text = f"{value:.0f}" if math.isfinite(value) else "–"
        color = "white" if value > 100 * DARK else "#22222a"
        ax.text(s, t, text, ha="center", va="center", fontsize=7.5, color=color)
    ax.set_xticks(range(size), [str(s + 1) for s in range(size)])
    ax.set_yticks(range(size), [str(t + 1) for t in range(size)])
    ax.grid(False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(matrix.label.format(width=width), color=THEORY if matrix.predicted else MEASURED)
    return True
