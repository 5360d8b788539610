"""The figure of uncertainty over one-dimensional inputs: bands of every method at growing width."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ntkgap.reporting.figures import plain
from ntkgap.reporting.paper import PaperFigure
from ntkgap.reporting.style import THEORY
from ntkgap.studies.figures import BandFigure, BandRow
from ntkgap.studies.measured import Measured

# One color a row (Okabe, Ito 2008), told apart also by their places.
COLORS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7")
TRUTH = "#8a8a93"
MAX_WIDTHS = 4
PANEL_WIDTH, PANEL_HEIGHT = 2.55, 1.95
DEVIATIONS = 2.0


def band_figure(spec: BandFigure, cells: Mapping[str, Sequence[Measured]]) -> Figure:
    """Mean ± 2 standard deviations, a row a method, a column a width and one for infinite width.

    Args:
        spec: what to draw.
        cells: what was measured, by problem; the first problem that has bands is drawn.
    """
    problem, found = next((p, f) for p, f in cells.items() if any("band_x" in c.curves for c in f))
    seed = min(cell.seed for cell in found)
    by_width = {cell.width: cell.curves for cell in found if cell.seed == seed and "band_x" in cell.curves}
    widths = sorted(by_width)
    widths = [widths[round(i)] for i in np.linspace(0, len(widths) - 1, min(MAX_WIDTHS, len(widths)))]
    columns = len(widths) + 1
    figure, grid = plt.subplots(
        len(spec.rows),
        columns,
        figsize=(PANEL_WIDTH * columns, PANEL_HEIGHT * len(spec.rows) + 0.75),
        sharex=True,
        sharey=True,
        squeeze=False,
        FigureClass=PaperFigure,
    )
    for row, color, axes in zip(spec.rows, COLORS, grid, strict=False):
        for ax, width in zip(axes, widths, strict=False):
            curves = by_width[width]
            _data(ax, curves)
            _band(ax, curves, row.measured, color)
            _outline(ax, curves, row.limit, "--")
        _limit(axes[-1], by_width[widths[-1]], row, color)
        axes[0].set_ylabel(row.label, fontweight="bold", color=color)
    for ax, width in zip(grid[0], widths, strict=False):
        ax.set_title(f"width {width}")
    grid[0, -1].set_title("infinite width")
    for ax in grid[-1]:
        ax.set_xlabel(spec.x_label)
    _frame(grid[0, 0], by_width[widths[-1]])
    _legend(figure, problem, seed)
    return figure


def _data(ax: Axes, curves: Mapping[str, list[float]]) -> None:
    ax.plot(curves["band_x"], curves["band_truth"], color=TRUTH, lw=1, zorder=1)
    ax.plot(curves["band_train_x"], curves["band_train_y"], "o", color="black", ms=2.6, mew=0, zorder=5)


def _edges(curves: Mapping[str, list[float]], method: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean, std = (np.array(curves[f"band_{method}_{what}"]) for what in ("mean", "std"))
    return mean - DEVIATIONS * std, mean, mean + DEVIATIONS * std


def _band(ax: Axes, curves: Mapping[str, list[float]], method: str, color: str) -> None:
    if f"band_{method}_mean" not in curves:
        ax.text(0.5, 0.5, "diverged", transform=ax.transAxes, ha="center", va="center", color=THEORY)
        return
    low, mean, high = _edges(curves, method)
    ax.fill_between(curves["band_x"], low, high, color=color, alpha=0.22, lw=0, zorder=2)
    ax.plot(curves["band_x"], mean, color=color, lw=1.5, zorder=4)


def _outline(ax: Axes, curves: Mapping[str, list[float]], method: str, dashes: str) -> None:
    for edge in _edges(curves, method)[::2]:
        ax.plot(curves["band_x"], edge, dashes, color="black", lw=0.8, alpha=0.75, zorder=3)


def _limit(ax: Axes, curves: Mapping[str, list[float]], row: BandRow, color: str) -> None:
    """The limit filled, and another method outlined beside it."""
    _data(ax, curves)
    _band(ax, curves, row.limit, color)
    label = row.limit_label
    if row.outline is not None:
        _outline(ax, curves, row.outline, ":")
        label += f"; dotted: {row.outline_label}"
    ax.text(0.5, 0.03, label, transform=ax.transAxes, ha="center", va="bottom", fontsize=7, zorder=6)


def _frame(ax: Axes, curves: Mapping[str, list[float]]) -> None:
    """Limits of all panels: bands of narrow networks may leave them."""
    methods = [k.removeprefix("band_").removesuffix("_std") for k in curves if k.endswith("_std")]
    edges = [_edges(curves, method) for method in methods]
    low, high = min(e[0].min() for e in edges), max(e[2].max() for e in edges)
    middle, half = (low + high) / 2, 0.56 * (high - low)
    ax.set_ylim(middle - half, middle + half)
    ax.set_xlim(min(curves["band_x"]), max(curves["band_x"]))


def _legend(figure: Figure, problem: str, seed: int) -> None:
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        0.62 / width, 0.85 / height, 1 - 0.1 / width, 1 - 0.3 / height, wspace=0.08, hspace=0.12
    )
    handles = [
        Patch(color=TRUTH, alpha=0.35, label="mean ± 2 standard deviations of the function"),
        Line2D([], [], color="black", ls="--", lw=0.8, label="the same at infinite width"),
        Line2D([], [], color=TRUTH, lw=1, label="true function"),
        Line2D([], [], color="black", ls="", marker="o", ms=3, label="training examples"),
    ]
    figure.legend(
        handles=handles, loc="lower center", ncols=4, title=f"{plain(problem)}, seed {seed}", title_fontsize=8
    )
