"""Claims along axes other than the width: a table, a figure and a line on the terminal for every axis."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ntkgap.reporting.figures import LIMIT, MEASURED, log_axis, mark_missing, shade_where_it_holds
from ntkgap.studies.axes import AxisVerdict, MeasuredAxis
from ntkgap.studies.variations import value_text

MAX_PANELS = 4
PANEL_WIDTH, PANEL_HEIGHT = 2.75, 2.35


@dataclass(frozen=True)
class AxisSection:
    """What the page shows of one axis of one problem.

    Attributes:
        along: the axis and its cells.
        verdicts: of every claim, a row each.
        note: what theory says along the axis; may be empty.
    """

    along: MeasuredAxis
    verdicts: list[AxisVerdict]
    note: str

    @property
    def title(self) -> str:
        """Problem, axis and width."""
        return f"{self.along.problem}: {self.along.label}, at width {self.along.width}"

    @property
    def headings(self) -> list[str]:
        """The values; the problem's own is marked, and those that have fewer seeds than others."""
        seeds = {value: len({cell.seed for cell in cells}) for value, cells in self.along.points.items()}
        most = max(seeds.values())
        found = []
        for value, n in seeds.items():
            marks = ["as above"] if value == self.along.own else []
            if n < most:
                marks.append(f"{n} seed{'s' if n > 1 else ''}")
            found.append(value_text(value) + (f" ({', '.join(marks)})" if marks else ""))
        return found


def axis_sections(verdicts: Sequence[AxisVerdict], notes: Mapping[str, str]) -> list[AxisSection]:
    """Verdicts along axes, put together by problem and axis, in the order in which they come."""
    found: dict[tuple[str, str, int], AxisSection] = {}
    for verdict in verdicts:
        along = verdict.along
        key = along.problem, along.axis, along.width
        found.setdefault(key, AxisSection(along, [], notes.get(along.axis, ""))).verdicts.append(verdict)
    return list(found.values())


def axis_line(section: AxisSection) -> str:
    """How many claims hold at every value, in a line."""
    along = section.along
    counts = []
    for value in along.points:
        results = [v.results[value] for v in section.verdicts if value in v.results]
        held = sum(r.state == "holds" for r in results)
        counts.append(f"{held} of {len(results)} at {value_text(value)}")
    return f"over {along.label} at width {along.width}, claims that hold: {', '.join(counts)}"


def most_moved(verdicts: Sequence[AxisVerdict], n: int = MAX_PANELS) -> list[AxisVerdict]:
    """The n claims whose medians the axis moves by the largest factor, in the order of the claims.

    Claims without two finite positive medians cannot be compared and come last; of claims with the same medians
    one is enough.
    """

    def medians(verdict: AxisVerdict) -> tuple[float | None, ...]:
        return tuple(r.interval.value if r.interval else None for r in verdict.results.values())

    def moved(verdict: AxisVerdict) -> float:
        logs = [math.log(m) for m in medians(verdict) if m is not None and math.isfinite(m) and m > 0]
        return max(logs) - min(logs) if len(logs) > 1 else -1.0

    different = {medians(v): v for v in reversed(verdicts)}
    chosen = sorted(different.values(), key=moved, reverse=True)[:n]
    return [v for v in verdicts if v in chosen]


def axis_figure(section: AxisSection) -> Figure:
    """The numbers that the axis moves most: seeds, medians with intervals, and the limits, one panel a claim."""
    verdicts = most_moved(section.verdicts)
    width, height = PANEL_WIDTH * len(verdicts), PANEL_HEIGHT
    figure, axes = plt.subplots(1, len(verdicts), figsize=(width, height), squeeze=False)
    figure.subplots_adjust(0.5 / width, 0.45 / height, 1 - 0.1 / width, 1 - 0.5 / height, 0.28)
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
    ax.set_title(textwrap.fill(claim.title, 36), fontsize=7.5)
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
    ax.set_xticks([places[v] for v in values], [value_text(v) for v in values])
    ax.xaxis.set_minor_formatter(NullFormatter())
    shade_where_it_holds(ax, claim)
    mark_missing(ax, seeds)
    if any(not drawable(y) for _, y in seeds):
        ax.legend(loc="best")


def _places(ax: Axes, along: MeasuredAxis) -> dict[object, float]:
    """Where values stand: positive numbers on a logarithmic axis, anything else side by side."""
    values = list(along.points)
    if along.numeric and all(v > 0 for v in values):  # type: ignore[operator]
        ax.set_xscale("log")
        return {v: float(v) for v in values}  # type: ignore[arg-type]
    ax.set_xlim(-0.5, len(values) - 0.5)
    return {v: float(i) for i, v in enumerate(values)}
