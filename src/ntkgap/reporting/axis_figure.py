"""The figure of an axis other than the width: the numbers that it moves most."""

import math
import textwrap

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ntkgap.reporting.figures import log_axis, mark_missing, plain, shade_where_it_holds
from ntkgap.reporting.paper import PaperFigure
from ntkgap.reporting.style import LIMIT, MEASURED
from ntkgap.reporting.variations import AxisSection, most_moved
from ntkgap.studies.axes import AxisVerdict, MeasuredAxis
from ntkgap.studies.variations import value_text

PANEL_WIDTH, PANEL_HEIGHT = 2.75, 2.35
BELOW, ABOVE, LEGEND = 0.45, 0.5, 0.2  # room for labels, titles, and what is missing


def axis_figure(section: AxisSection) -> Figure:
    """The numbers that the axis moves most: seeds, medians with intervals, and the limits, one panel a claim."""
    verdicts = most_moved(section.verdicts)
    below = BELOW + LEGEND
    width, height = PANEL_WIDTH * len(verdicts), PANEL_HEIGHT + LEGEND
    figure, axes = plt.subplots(1, len(verdicts), figsize=(width, height), squeeze=False, FigureClass=PaperFigure)
    figure.subplots_adjust(0.5 / width, below / height, 1 - 0.1 / width, 1 - ABOVE / height, 0.28)
    for ax, verdict in zip(axes[0], verdicts, strict=True):
        _panel(ax, verdict)
    return figure


def _panel(ax: Axes, verdict: AxisVerdict) -> None:
    claim, along = verdict.claim, verdict.along
    values = list(along.points)
    places = _places(ax, along)
    seeds = [
        (places[v], cell.scalars[claim.quantity])
        for v, cells in along.points.items()
        for cell in cells
        if claim.quantity in cell.scalars
    ]
    ax.set_title(textwrap.fill(plain(claim.title), 36), fontsize=7.5)
    ax.set_xlabel(along.label)
    if claim.log_scale:
        log_axis(ax)
    # First, so that the view has an extent before a single point is drawn, which has none.
    ax.axhline(claim.threshold, color=LIMIT, ls="--", lw=1.1)

    def drawable(value: float) -> bool:
        return math.isfinite(value) and (value > 0 or not claim.log_scale)

    finite = [(x, y) for x, y in seeds if drawable(y)]
    if finite:
        ax.plot(*zip(*finite, strict=True), "o", color=MEASURED, ms=2.5, alpha=0.35, mew=0)
        bottom, top = min(y for _, y in finite), max(y for _, y in finite)
        decided = [(places[v], r.interval) for v, r in verdict.results.items() if r.interval]
        decided = [(x, i) for x, i in decided if drawable(i.value)]
        middles = [i.value for _, i in decided]
        reach = [[m - max(i.low, bottom) for m, (_, i) in zip(middles, decided, strict=True)]]
        reach += [[min(i.high, top) - m for m, (_, i) in zip(middles, decided, strict=True)]]
        line = "o-" if along.numeric else "o"
        ax.errorbar(
            [x for x, _ in decided], middles, reach, fmt=line, color=MEASURED, ms=4, capsize=2, elinewidth=1
        )
    else:
        ax.set_ylim(claim.threshold / 10, claim.threshold * 10)
    if along.own in places:
        ax.axvline(places[along.own], color="#8a8a93", ls=":", lw=0.9, zorder=0)
    ax.set_xticks([places[v] for v in values], [plain(value_text(v)) for v in values])
    ax.xaxis.set_minor_formatter(NullFormatter())
    shade_where_it_holds(ax, claim)
    mark_missing(ax, seeds)
    if any(not drawable(y) for _, y in seeds):
        place = (0, -BELOW / (PANEL_HEIGHT - BELOW - ABOVE))
        ax.legend(loc="upper left", bbox_to_anchor=place, borderaxespad=0, ncols=2)


def _places(ax: Axes, along: MeasuredAxis) -> dict[object, float]:
    """Where values stand: positive numbers on a logarithmic axis, anything else side by side."""
    values = list(along.points)
    if along.numeric and all(v > 0 for v in values):  # type: ignore[operator]
        ax.set_xscale("log")
        return {v: float(v) for v in values}  # type: ignore[arg-type]
    ax.set_xlim(-0.5, len(values) - 0.5)
    return {v: float(i) for i, v in enumerate(values)}
