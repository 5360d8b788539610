"""The figure that compares methods: their curves over steps or seconds, beside what kernels predict."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ntkgap.reporting.figures import label_rows, legend_columns, log_axis, panels, plain, power_of_ten
from ntkgap.reporting.paper import set_title
from ntkgap.reporting.ranges import seed_range
from ntkgap.reporting.style import LIMIT, layout
from ntkgap.studies.figures import ComparisonFigure, Line
from ntkgap.studies.measured import Measured

# Told apart by readers with any color vision (Okabe, Ito 2008; its yellow darkened for paper), and by the marks.
COLORS = ("#000000", "#0072b2", "#56b4e9", "#d55e00", "#cc79a7", "#e69f00", "#8c6d00", "#009e73")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


def comparison_figure(spec: ComparisonFigure, cells: Mapping[str, Sequence[Measured]]) -> Figure | None:
    """Curves of several methods, median and range over seeds, at the largest width with any of them.

    Where not every seed has a curve, its label says how many have; the legend is shared, so also in which panel.

    Args:
        spec: what to draw.
        cells: what was measured, by problem.

    Returns:
        One panel a problem that has such curves; None if none has.
    """
    chosen = {problem: widest for problem, found in cells.items() if (widest := _widest(spec, found))}
    if not chosen:
        return None
    figure, axes = panels(len(chosen))
    for i, (ax, (problem, found)) in enumerate(zip(axes, chosen.items(), strict=True)):
        panel = f", panel {i + 1}" if len(axes) > 1 else ""
        set_title(ax, f"{plain(problem)}, width {found[0].width}")
        ax.set_xlabel(spec.x_label)
        log_axis(ax)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
        ax.xaxis.set_minor_formatter(NullFormatter())
        # A method has its color by its place among all methods, whoever is missing.
        for line, color, mark in zip(spec.lines, COLORS, MARKS, strict=False):
            _draw(ax, line, [c.curves for c in found], color, mark, panel)
        if spec.level is not None:
            ax.axhline(found[0].scalars[spec.level], color=LIMIT, ls="--", lw=1.1, label=spec.level_label)
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, spec.floor), high if spec.ceiling is None else min(high, spec.ceiling))
    label_rows(axes, spec.y_label)
    _legend_below(figure, axes)
    return figure


def _legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, below them: there are too many curves for room beside them."""
    handles = {label: h for ax in axes for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    columns = legend_columns([*handles], figure.get_figwidth())
    extra = 0.1 + layout().line * math.ceil(len(handles) / columns)
    width, height = figure.get_size_inches()
    margins = figure.subplotpars
    bottom, top = margins.bottom * height + extra, margins.top * height + extra
    figure.set_size_inches(width, height + extra)
    figure.subplots_adjust(bottom=bottom / (height + extra), top=top / (height + extra))
    figure.legend(handles.values(), handles, loc="lower center", ncols=columns, fontsize=layout().letters - 2)


def _widest(spec: ComparisonFigure, found: Sequence[Measured]) -> list[Measured]:
    """The cells of the largest width at which any of the curves was measured."""
    with_curves = [c for c in found if any(line.measured in c.curves for line in spec.lines)]
    return [c for c in with_curves if c.width == max(c.width for c in with_curves)]


def _draw(ax: Axes, line: Line, cells: list[Mapping[str, list[float]]], color: str, mark: str, panel: str) -> None:
    def label(what: str, n: int) -> str:
        return what if n == len(cells) else f"{what} ({n} of {len(cells)} seeds{panel})"

    curves = [c[line.measured] for c in cells if line.measured in c]
    if not curves:
        return
    low, middle, high = seed_range(curves, positive=True)
    x = np.arange(len(middle), dtype=float)
    if line.seconds is not None:
        _, x, _ = seed_range([c[line.seconds] for c in cells if line.seconds in c], positive=False)
        x = x[: len(middle)]
    # The start, which is the same for all, has no place on a logarithmic axis.
    marked = np.unique(np.geomspace(1, max(len(middle) - 1, 1), 6).round().astype(int)) - 1
    own = label(line.label, len(curves))
    weight, alpha = (5.0, 0.4) if line.wide else (None, None)
    ax.plot(
        x[1:],
        middle[1:],
        color=color,
        marker=mark,
        ms=4,
        markevery=marked.tolist(),
        label=own,
        lw=weight,
        alpha=alpha,
    )
    ax.fill_between(x[1:], low[1:], high[1:], color=color, alpha=0.12, lw=0)
    for name, dashes, by in ((line.predicted, "--", "by K(θ₀)"), (line.limit, ":", "by infinite width")):
        predicted = [c[name] for c in cells if name is not None and name in c]
        if predicted:
            _, theory, _ = seed_range(predicted, positive=True)
            own = label(f"{line.label}, {by}", len(predicted))
            ax.plot(range(1, len(theory)), theory[1:], dashes, color=color, lw=1.3, label=own, zorder=3)
