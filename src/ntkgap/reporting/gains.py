"""What the largest width gains over training time, and where that changes its sign."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkgap.reporting.figures import label_rows, legends_below, log_axis, panels, plain
from ntkgap.reporting.paper import set_title
from ntkgap.reporting.style import LIMIT, MEASURED
from ntkgap.studies.figures import GainFigure
from ntkgap.studies.measured import Measured, median_curve
from ntkgap.studies.statistics import zero_crossings


def gain_figure(spec: GainFigure, cells: Mapping[str, Sequence[Measured]]) -> Figure:
    """Median gain of the largest width with its interval over seeds, a line at zero, and its crossings.

    Args:
        spec: what to draw.
        cells: what was measured, by problem.
    """
    figure, axes = panels(len(cells))
    for ax, (problem, found) in zip(axes, cells.items(), strict=True):
        set_title(ax, plain(problem))
        ax.set_xlabel(spec.x_label)
        log_axis(ax, horizontal=True)
        ax.axhline(0, color=LIMIT, lw=1.1)
        _draw(ax, spec, found)
    label_rows(axes, spec.y_label)
    legends_below(figure, axes)
    return figure


def _draw(ax: Axes, spec: GainFigure, found: Sequence[Measured]) -> None:
    width = max(cell.width for cell in found if spec.gain in cell.curves)
    widest = [cell for cell in found if cell.width == width and spec.gain in cell.curves]
    times, intervals = median_curve(widest, spec.x, spec.gain, spec.scale)
    low, high = ([_finite(getattr(i, part)) for i in intervals] for part in ("low", "high"))
    ax.plot(times, [_finite(i.value) for i in intervals], "o-", color=MEASURED, ms=4.5, label=f"width {width}")
    ax.fill_between(times, low, high, color=MEASURED, alpha=0.15)
    for crossing in zero_crossings(times, intervals):
        at = crossing.at
        ends = [max(at.low, times[0]), min(at.high, times[-1])]
        ax.plot(ends, [0, 0], color=MEASURED, lw=4, alpha=0.5, solid_capstyle="butt")
        ax.plot([at.value], [0], "D", color=MEASURED, ms=6, label=f"zero at {at.value:.3g}")


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan
