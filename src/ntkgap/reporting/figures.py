"""Figures: measurement and theory on one log-width axis, fit for a paper."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ntkgap.reporting.marks import COLORS
from ntkgap.reporting.paper import PaperFigure, set_title, set_ylabel
from ntkgap.reporting.ranges import seed_range
from ntkgap.reporting.style import LIMIT, MEASURED, REFERENCES, THEORY, layout, ordered_colors
from ntkgap.studies.claim import Claim
from ntkgap.studies.figures import CurveFigure, WidthFigure
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import median_interval
from ntkgap.studies.verdict import Verdict, fitted_widths
from ntkgap.texts import terminal_text

DASHES = ("--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))


def plain(name: str) -> str:
    """What users call things: between dollars it would be a formula, and control characters have no glyph."""
    return terminal_text(name).replace("$", r"\$")


def panels(n: int) -> tuple[Figure, list[Axes]]:
    """Make n panels, as many in a row as the layout has, four as two rows of two, and one of full width."""
    sizes = layout()
    columns = 2 if n == 4 and sizes.most > 1 else min(n, sizes.most)
    rows = math.ceil(n / columns)
    # Fixed margins, in inches: measuring every label to find the least ones takes longer than drawing the figure.
    around, across = sizes.below + sizes.above, sizes.left + sizes.right
    width, height = max(sizes.panel_width * columns, sizes.least), sizes.panel_height * rows
    figure, grid = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, FigureClass=PaperFigure)
    figure.subplots_adjust(
        sizes.left / width,
        sizes.below / height,
        1 - sizes.right / width,
        1 - sizes.above / height,
        sizes.gap / ((width - across - sizes.gap * (columns - 1)) / columns),
        around / (sizes.panel_height - around),
    )
    for unused in grid.flat[n:]:
        unused.remove()
    return figure, list(grid.flat[:n])


def legends_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """A legend under every panel, in as many columns as fit; the figure grows by its height."""
    sizes = layout()
    labels = [ax.get_legend_handles_labels()[1] for ax in axes]
    panel = axes[0].get_position().width * figure.get_figwidth()
    columns = legend_columns([label for own in labels for label in own], panel)
    lines = max(math.ceil(len(own) / columns) for own in labels)
    extra = sizes.line * lines + 0.06
    rows = round(figure.get_figheight() / sizes.panel_height)
    height = rows * (sizes.panel_height + extra)
    inside = sizes.panel_height - sizes.below - sizes.above
    figure.set_figheight(height)
    figure.subplots_adjust(
        bottom=(sizes.below + extra) / height,
        top=1 - sizes.above / height,
        hspace=(sizes.below + extra + sizes.above) / inside,
    )
    for ax, own in zip(axes, labels, strict=True):
        if own:
            place = (0, -sizes.below / inside)
            ax.legend(loc="upper left", bbox_to_anchor=place, borderaxespad=0, ncols=columns)


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many columns of such labels fit into so many inches."""
    sizes = layout()
    return max(1, int(width / (sizes.letter * max(map(len, labels), default=1) + 0.05 * sizes.letters)))


def keep_from_negative(ax: Axes, values: Sequence[float]) -> None:
    """End a linear axis at zero where no number is negative."""
    low, high = ax.get_ylim()
    if ax.get_yscale() == "linear" and low < 0 < high and all(not v < 0 for v in values):
        ax.set_ylim(0, high)


def label_rows(axes: Sequence[Axes], label: str) -> None:
    """Label the vertical axis of the first panel of every row."""
    for ax in axes:
        place = ax.get_subplotspec()
        if place is not None and place.is_first_col():
            set_ylabel(ax, label)


def log_axis(ax: Axes, horizontal: bool = False) -> None:
    """Make an axis logarithmic, labeled in plain text (which draws far faster than formulas)."""
    axis: Axis = ax.xaxis if horizontal else ax.yaxis
    (ax.set_xscale if horizontal else ax.set_yscale)("log")
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: _minor_label(axis, value)))


def power_of_ten(value: float) -> str:
    """Write 1e-5 as 10⁻⁵, and numbers near one as they are."""
    if 1e-3 <= value <= 1e3:
        return f"{value:g}"
    exponent = round(math.log10(value))
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _minor_label(axis: Axis, value: float) -> str:
    """Label 2 and 5 between powers of ten where less than two of them are in view, all where less than one is."""
    low, high = axis.get_view_interval()
    leading = round(value / 10 ** math.floor(math.log10(value)))
    shown = range(2, 10) if high / low < 6 else (2, 5) if high / low < 100 else ()
    return f"{value:.3g}" if leading in shown else ""


def claim_figure(verdicts: Sequence[Verdict], cells: Mapping[str, Sequence[Measured]]) -> Figure:
    """The quantity of one claim over width, one panel a problem.

    Args:
        verdicts: the claim's verdict on every problem.
        cells: what was measured, by problem.
    """
    figure, axes = panels(len(verdicts))
    for ax, verdict in zip(axes, verdicts, strict=True):
        quantity = verdict.claim.quantity
        seeds = [(c.width, c.scalars[quantity]) for c in cells[verdict.problem] if quantity in c.scalars]
        _claim_panel(ax, verdict, seeds)
    label_rows(axes, verdicts[0].claim.label)
    legends_below(figure, axes)
    return figure


def _claim_panel(ax: Axes, verdict: Verdict, seeds: list[tuple[int, float]]) -> None:
    claim = verdict.claim
    set_title(ax, plain(verdict.problem))
    ax.set_xscale("log")
    ax.set_xlabel("width")
    if claim.log_scale:
        log_axis(ax)
    finite = [(w, v) for w, v in seeds if math.isfinite(v) and (v > 0 or not claim.log_scale)]
    decided = [(r.width, r.interval) for r in verdict.widths if r.interval and math.isfinite(r.interval.value)]
    decided = [(w, i) for w, i in decided if i.value > 0 or not claim.log_scale]
    if finite:
        ax.plot(*zip(*finite, strict=True), "o", color=MEASURED, ms=2.5, alpha=0.35, mew=0)
    if decided:
        widths = [w for w, _ in decided]
        ax.plot(widths, [i.value for _, i in decided], "o-", color=MEASURED, ms=4.5, label="measured")
        top = max(v for _, v in finite)
        bottom = min(v for _, v in finite)
        low = [max(i.low, bottom) for _, i in decided]
        ax.fill_between(widths, low, [min(i.high, top) for _, i in decided], color=MEASURED, alpha=0.18, lw=0)
    if not finite:  # every seed diverged or is inconclusive: show the neighborhood of the limit
        ax.set_ylim(claim.threshold / 10, claim.threshold * 10)
    _draw_theory(ax, verdict)
    ax.axhline(claim.threshold, color=LIMIT, ls="--", lw=1.1, label=f"limit {claim.threshold:g}")
    _tick_widths(ax, [r.width for r in verdict.widths])
    keep_from_negative(ax, [claim.threshold, *(v for _, v in finite)])
    shade_where_it_holds(ax, claim)
    mark_missing(ax, seeds)


def _draw_theory(ax: Axes, verdict: Verdict) -> None:
    """The predicted power law through the widest measurement, the fitted one, and where it would hold."""
    claim, fit = verdict.claim, verdict.fit
    all_widths = np.array([r.width for r in verdict.widths], dtype=float)
    last = next((r for r in reversed(verdict.widths) if r.interval and math.isfinite(r.interval.value)), None)
    if claim.exponent is not None and last is not None and last.interval is not None and last.interval.value > 0:
        line = last.interval.value * (all_widths / last.width) ** claim.exponent
        ax.plot(all_widths, line, color=THEORY, ls=":", lw=1.4, label=f"theory: ∝ width^{claim.exponent:.3g}")
    if fit is not None:
        span = np.geomspace(fitted_widths([r.width for r in verdict.widths])[0], all_widths[-1], 50)
        e = fit.exponent
        label = f"fit: ∝ width^({e.value:.2f} [{e.low:.2f}, {e.high:.2f}])"
        ax.plot(span, [fit(w) for w in span], color="#555", ls="-.", lw=1, label=label)
    if beyond := verdict.extrapolated:
        ax.plot([beyond.low, beyond.high], [claim.threshold] * 2, "-", color="#555", lw=2.5)
        ax.plot([beyond.value], [claim.threshold], "x", color="#555", ms=6, mew=1.5, label="would hold from here")


def _tick_widths(ax: Axes, widths: list[int]) -> None:
    """Tick the widths that were measured, thinned out where their numbers would touch."""
    step = math.ceil(len(widths) / 6)
    ax.set_xticks(widths[::-step], [f"{w:,}".replace(",", "\u2009") for w in widths[::-step]])
    ax.set_xticks(widths, minor=True)
    ax.xaxis.set_minor_formatter(NullFormatter())


def shade_where_it_holds(ax: Axes, claim: Claim) -> None:
    """Tint the side of the limit on which the claim holds, within the present view."""
    low, high = ax.get_ylim()
    holds = (low, min(claim.threshold, high)) if claim.direction == "below" else (max(claim.threshold, low), high)
    if holds[0] < holds[1]:
        ax.axhspan(*holds, color=COLORS["holds"], alpha=0.06, lw=0)
    ax.set_ylim(low, high)


def mark_missing(ax: Axes, seeds: Sequence[tuple[float, float]]) -> None:
    """Say which widths (or other values) have seeds that are not in the picture, and why."""
    for test, word, height in ((math.isinf, "diverged or stopped", 0.97), (math.isnan, "inconclusive", 0.03)):
        if widths := sorted({w for w, v in seeds if test(v)}):
            _mark(ax, widths, height, word)


def _mark(ax: Axes, widths: Sequence[float], height: float, word: str) -> None:
    """Crosses over these widths, at a height given as a fraction of the panel's."""
    ax.plot(widths, [height] * len(widths), "x", transform=ax.get_xaxis_transform(), color=LIMIT, ms=5, label=word)


def width_figure(spec: WidthFigure, cells: Mapping[str, Sequence[Measured]]) -> Figure:
    """A measured number over width with its theory, one panel a problem, median and interval over seeds.

    Args:
        spec: what to draw.
        cells: what was measured, by problem.
    """
    figure, axes = panels(len(cells))
    for ax, (problem, found) in zip(axes, cells.items(), strict=True):
        set_title(ax, plain(problem))
        ax.set_xscale("log")
        ax.set_xlabel("width")
        if spec.log_y:
            log_axis(ax)
        values = [(c.width, c.scalars[spec.measured]) for c in found if spec.measured in c.scalars]
        _draw_over_width(ax, values, spec.log_y, MEASURED, "-", spec.measured_label, marker="o")
        drawn = [value for _, value in values]
        for (name, label), dashes, color in zip(spec.references, DASHES, REFERENCES, strict=False):
            others = [(c.width, c.scalars[name]) for c in found if name in c.scalars]
            drawn += [value for _, value in others]
            _draw_over_width(ax, others, spec.log_y, color, dashes, label, above=True)
        _tick_widths(ax, sorted({width for width, _ in values}))
        if missing := sorted({width for width, value in values if not _has_place(value, spec.log_y)}):
            _mark(ax, missing, 0.03, "not for every seed")
        keep_from_negative(ax, drawn)
    label_rows(axes, spec.y_label)
    legends_below(figure, axes)
    return figure


def _draw_over_width(
    ax: Axes,
    values: list[tuple[int, float]],
    log_y: bool,
    color: str,
    line: Any,
    label: str,
    marker: str = "",
    above: bool = False,
) -> None:
    """Median and interval at every width at which each seed has a place on the axis."""
    by_width: dict[int, list[float]] = {}
    for width, value in sorted(values):
        by_width.setdefault(width, []).append(value)
    drawable = {w: median_interval(v) for w, v in by_width.items() if all(_has_place(x, log_y) for x in v)}
    if not drawable:
        return
    widths, intervals = list(drawable), list(drawable.values())
    ax.plot(
        widths,
        [i.value for i in intervals],
        marker=marker,
        ls=line,
        color=color,
        ms=4.5,
        label=label,
        zorder=3 if above else 2,
    )
    ax.fill_between(widths, [i.low for i in intervals], [i.high for i in intervals], color=color, alpha=0.15)


def _has_place(value: float, log_y: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log_y)


def curve_figure(spec: CurveFigure, cells: Mapping[str, Sequence[Measured]], max_widths: int = 5) -> Figure:
    """Curves over training, one panel a problem, one color a width, median and range over seeds.

    Args:
        spec: what to draw.
        cells: what was measured, by problem.
        max_widths: at most so many widths are drawn, evenly chosen.
    """
    figure, axes = panels(len(cells))
    for ax, (problem, found) in zip(axes, cells.items(), strict=True):
        set_title(ax, plain(problem))
        ax.set_xlabel(spec.x_label)
        if spec.x is not None:
            log_axis(ax, horizontal=True)
        if spec.log_y:
            log_axis(ax)
        widths = sorted({c.width for c in found})
        chosen = [widths[round(i)] for i in np.linspace(0, len(widths) - 1, min(max_widths, len(widths)))]
        colors = ordered_colors(len(chosen))
        for width, color in zip(chosen, colors, strict=True):
            of_width = [c.curves for c in found if c.width == width]
            low, middle, high = seed_range([c[spec.measured] for c in of_width], spec.log_y)
            x = range(len(middle)) if spec.x is None else of_width[0][spec.x]
            ax.plot(x, middle, color=color, label=f"width {width}")
            ax.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
            if spec.predicted is not None and all(spec.predicted in c for c in of_width):
                _, predicted, _ = seed_range([c[spec.predicted] for c in of_width], spec.log_y)
                at = range(len(predicted)) if spec.x is None else of_width[0][spec.x]
                ax.plot(at, predicted, "--", color=color, lw=1.3, zorder=3)
        if spec.limit is not None:
            widest = [c.curves for c in found if c.width == widths[-1]]
            limits = [curves[spec.limit] for curves in widest if spec.limit in curves]
            _draw_limit(ax, limits, spec.log_y, None if spec.x is None else widest[0][spec.x])
        if spec.level is not None:
            ax.axhline(spec.level, color=LIMIT, ls="--", lw=1.1, label=spec.level_label)
        if spec.predicted is not None and any(spec.predicted in c.curves for c in found):
            ax.plot([], [], "--", color="#555", lw=1.1, label=spec.predicted_label)
    label_rows(axes, spec.y_label)
    legends_below(figure, axes)
    return figure


def _draw_limit(ax: Axes, curves: list[list[float]], log_y: bool, x: Sequence[float] | None) -> None:
    """What infinite width predicts, from where the widest networks start."""
    if curves:
        _, middle, _ = seed_range(curves, log_y)
        at = range(len(middle)) if x is None else x
        ax.plot(at, middle, ":", color=LIMIT, lw=1.8, label="theory: infinite width", zorder=3)
