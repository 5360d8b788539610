"""Charts of a study's own figures, of what is drawn with lines and points."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ntkgap.reporting.charts.claims import missing
from ntkgap.reporting.charts.colors import BANDS, INK, MEASURED, METHODS, REFERENCES, SOFT, THEORY, ordered
from ntkgap.reporting.charts.panel import Panel, Rule, Series
from ntkgap.reporting.ranges import seed_range
from ntkgap.studies.figures import (
    BandFigure,
    ComparisonFigure,
    CurveFigure,
    GainFigure,
    Line,
    ScatterFigure,
    WidthFigure,
)
from ntkgap.studies.measured import Measured, median_curve
from ntkgap.studies.statistics import median_interval, zero_crossings

Cells = Mapping[str, Sequence[Measured]]

# More points of a curve are not seen, and more widths not told apart.
MAX_POINTS, MAX_WIDTHS = 120, 5
DASHES = ((5, 3), (2, 3), (7, 3, 2, 3), (9, 3))
DEVIATIONS = 2.0


def width_panels(spec: WidthFigure, cells: Cells) -> list[Panel]:
    """A measured number over width beside its theory: medians and intervals over seeds, a panel a problem."""
    panels = []
    for problem, found in cells.items():
        values = _values(found, spec.measured)
        series = [_over_width(spec.measured_label, MEASURED, values, "marked", (), spec.log_y)]
        for (name, label), color, dash in zip(spec.references, REFERENCES, DASHES, strict=False):
            if others := _values(found, name):
                series.append(_over_width(label, color, others, "line", dash, spec.log_y))
        ticks = tuple(sorted({x for x, _ in values}))
        panels.append(
            Panel(
                problem,
                "width",
                spec.y_label,
                tuple(series),
                y_log=spec.log_y,
                x_ticks=ticks,
                note=missing(values),
            )
        )
    return panels


def _values(cells: Sequence[Measured], name: str) -> list[tuple[float, float]]:
    return sorted((float(c.width), c.scalars[name]) for c in cells if name in c.scalars)


def _over_width(
    label: str, color: str, values: Sequence[tuple[float, float]], kind: Any, dash: tuple[int, ...], log: bool
) -> Series:
    """Medians at every width at which each seed has a place on the axis."""
    by_width: dict[float, list[float]] = {}
    for width, value in values:
        by_width.setdefault(width, []).append(value)
    drawn = {
        w: median_interval(v)
        for w, v in by_width.items()
        if all(math.isfinite(x) and (x > 0 or not log) for x in v)
    }
    intervals = list(drawn.values())
    low, high = [i.low for i in intervals], [i.high for i in intervals]
    return Series(label, color, list(drawn), [i.value for i in intervals], low, high, kind, dash)


def curve_panels(spec: CurveFigure, cells: Cells) -> list[Panel]:
    """Curves over training, a panel a problem and a color a width: medians and ranges over seeds."""
    return [_curve_panel(spec, problem, found) for problem, found in cells.items()]


def _curve_panel(spec: CurveFigure, problem: str, found: Sequence[Measured]) -> Panel:
    widths = sorted({c.width for c in found})
    chosen = [widths[round(i)] for i in np.linspace(0, len(widths) - 1, min(MAX_WIDTHS, len(widths)))]
    series = []
    for width, color in zip(chosen, ordered(len(chosen)), strict=True):
        curves = [c.curves for c in found if c.width == width]
        x = None if spec.x is None else curves[0][spec.x]
        measured = [c[spec.measured] for c in curves]
        series.append(_curve(f"width {width}", color, measured, spec.log_y, x, band=True))
        if spec.predicted is not None and all(spec.predicted in c for c in curves):
            name = f"width {width}, {spec.predicted_label}"
            predicted = [c[spec.predicted] for c in curves]
            series.append(_curve(name, color, predicted, spec.log_y, x, dash=(5, 3)))
    widest = [c.curves for c in found if c.width == widths[-1]]
    if spec.limit is not None and (limits := [c[spec.limit] for c in widest if spec.limit in c]):
        x = None if spec.x is None else widest[0][spec.x]
        series.append(_curve("theory: infinite width", INK, limits, spec.log_y, x, dash=(2, 3)))
    rules = () if spec.level is None else (Rule(spec.level_label, spec.level),)
    log = spec.x is not None
    return Panel(problem, spec.x_label, spec.y_label, tuple(series), rules, x_log=log, y_log=spec.log_y)


def _curve(
    name: str,
    color: str,
    curves: list[list[float]],
    positive: bool,
    x: Sequence[float] | None,
    dash: tuple[int, ...] = (),
    band: bool = False,
    even: bool = True,
) -> Series:
    """Median and range over seeds, at so many places as are seen."""
    low, middle, high = seed_range(curves, positive)
    at = thinned(len(middle), even)
    places = [float(i) if x is None else x[i] for i in at]
    own, ends_low, ends_high = ([float(v[i]) for i in at] for v in (middle, low, high))
    if not band:
        return Series(name, color, places, own, dash=dash)
    return Series(name, color, places, own, ends_low, ends_high, dash=dash)


def thinned(n: int, even: bool) -> list[int]:
    """So many of n places as are seen, with both ends; evenly, or as evenly in logarithms."""
    if n <= MAX_POINTS:
        return list(range(n))
    places = np.linspace(0, n - 1, MAX_POINTS) if even else np.geomspace(1, n, MAX_POINTS) - 1
    return sorted({round(float(i)) for i in places})


def gain_panels(spec: GainFigure, cells: Cells) -> list[Panel]:
    """Median gain of the largest width over training time, and where it changes its sign."""
    panels = []
    for problem, found in cells.items():
        width = max(cell.width for cell in found if spec.gain in cell.curves)
        widest = [cell for cell in found if cell.width == width and spec.gain in cell.curves]
        times, intervals = median_curve(widest, spec.x, spec.gain, spec.scale)
        low, high = [i.low for i in intervals], [i.high for i in intervals]
        series = [Series(f"width {width}", MEASURED, times, [i.value for i in intervals], low, high, "marked")]
        for crossing in zero_crossings(times, intervals):
            name = f"zero at {crossing.at.value:.3g}"
            series.append(Series(name, THEORY, [crossing.at.value], [0.0], kind="points"))
        rules = (Rule("no gain", 0.0),)
        panels.append(Panel(problem, spec.x_label, spec.y_label, tuple(series), rules, y_log=False))
    return panels


def scatter_panels(spec: ScatterFigure, cells: Cells) -> list[Panel]:
    """Points of all cells in four quadrants, a panel a problem and a color a width."""
    panels = []
    for problem, found in cells.items():
        widths = sorted({c.width for c in found})
        series = []
        for width, color in zip(widths, ordered(len(widths)), strict=True):
            points = sorted((c.scalars[spec.x], c.scalars[spec.y]) for c in found if c.width == width)
            x, y = [p[0] for p in points], [p[1] for p in points]
            series.append(Series(f"width {width}", color, x, y, kind="points"))
        points = [(c.scalars[spec.x], c.scalars[spec.y]) for c in found]
        left_out = sum(not all(math.isfinite(v) and v > 0 for v in point) for point in points)
        names = ("upper left", "upper right", "lower left", "lower right")
        parts = [f"{place}: {text}" for place, text in zip(names, spec.quadrants, strict=True) if text]
        notes = [f"Not drawn: {left_out} of {len(points)} cells, infinite or inconclusive"] if left_out else []
        note = "; ".join([*notes, *parts])
        rules = (
            Rule(f"limit {spec.y_limit:g} of {spec.y_label}", spec.y_limit),
            Rule(f"limit {spec.x_limit:g} of {spec.x_label}", spec.x_limit, True, (2, 3)),
        )
        panels.append(Panel(problem, spec.x_label, spec.y_label, tuple(series), rules, note=note))
    return panels


def comparison_panels(spec: ComparisonFigure, cells: Cells) -> list[Panel]:
    """Curves of several methods at the largest width with any of them, a panel a problem."""
    panels = []
    for problem, found in cells.items():
        having = [c for c in found if any(line.measured in c.curves for line in spec.lines)]
        if not having:
            continue
        width = max(c.width for c in having)
        widest = [c for c in having if c.width == width]
        series: list[Series] = []
        # A method has its color by its place among all methods, whoever is missing.
        for line, color in zip(spec.lines, METHODS, strict=False):
            series += _method(line, [c.curves for c in widest], color, spec)
        rules = () if spec.level is None else (Rule(spec.level_label, widest[0].scalars[spec.level]),)
        title = f"{problem}, width {width}"
        panels.append(Panel(title, spec.x_label, spec.y_label, tuple(series), rules))
    return panels


def _method(
    line: Line, cells: list[Mapping[str, list[float]]], color: str, spec: ComparisonFigure
) -> list[Series]:
    curves = [c[line.measured] for c in cells if line.measured in c]
    if not curves:
        return []
    x = None
    if line.seconds is not None:
        _, seconds, _ = seed_range([c[line.seconds] for c in cells if line.seconds in c], positive=False)
        x = seconds.tolist()
    name = line.label if len(curves) == len(cells) else f"{line.label} ({len(curves)} of {len(cells)} seeds)"
    found = [_curve(name, color, _shown(curves, spec), True, x, band=True, even=False)]
    for curve, dash, by in ((line.predicted, (5, 3), "by K(θ₀)"), (line.limit, (2, 3), "by infinite width")):
        if predicted := [c[curve] for c in cells if curve is not None and curve in c]:
            label = f"{line.label}, {by}"
            found.append(_curve(label, color, _shown(predicted, spec), True, None, dash, even=False))
    return found


def _shown(curves: list[list[float]], spec: ComparisonFigure) -> list[list[float]]:
    """Curves without what lies outside the axes."""
    top = math.inf if spec.ceiling is None else spec.ceiling
    return [[v if spec.floor <= v <= top else math.nan for v in curve] for curve in curves]


def band_panels(spec: BandFigure, cells: Cells) -> list[Panel]:
    """Mean ± 2 standard deviations over inputs: a panel for every method and width, and for infinite width."""
    problem, found = next((p, f) for p, f in cells.items() if any("band_x" in c.curves for c in f))
    seed = min(cell.seed for cell in found)
    by_width = {c.width: c.curves for c in found if c.seed == seed and "band_x" in c.curves}
    widest = by_width[max(by_width)]
    reach = [edge for name in widest if name.endswith("_std") for edge in _edges(widest, name[5:-4])]
    ends = (min(min(e) for e in reach), max(max(e) for e in reach))
    where = f"{problem}, seed {seed}"
    panels = []
    for row, color in zip(spec.rows, BANDS, strict=False):
        for width, curves in sorted(by_width.items()):
            series = []
            if f"band_{row.measured}_mean" in curves:
                series = [_band(f"{row.label}, mean ± 2 standard deviations", color, curves, row.measured)]
            series += _outlined("the same at infinite width", INK, curves, row.limit)
            title = f"{row.label}, width {width}"
            note = where if series[0].low else f"{where}. Not drawn: it diverged"
            panels.append(_band_panel(title, spec, curves, series, ends, note))
        series = [_band(row.limit_label, color, widest, row.limit)]
        if row.outline is not None:
            series += _outlined(row.outline_label, INK, widest, row.outline)
        panels.append(_band_panel(f"{row.label}, infinite width", spec, widest, series, ends, where))
    return panels


def _band_panel(
    title: str,
    spec: BandFigure,
    curves: Mapping[str, list[float]],
    series: list[Series],
    ends: tuple[float, float],
    note: str,
) -> Panel:
    data = [
        Series("true function", SOFT, curves["band_x"], curves["band_truth"]),
        Series("training examples", INK, curves["band_train_x"], curves["band_train_y"], kind="points"),
    ]
    shown = (*series, *data)
    return Panel(title, spec.x_label, "output", shown, x_log=False, y_log=False, y_range=ends, note=note)


def _edges(curves: Mapping[str, list[float]], method: str) -> tuple[list[float], list[float]]:
    pairs = list(zip(curves[f"band_{method}_mean"], curves[f"band_{method}_std"], strict=True))
    return [m - DEVIATIONS * s for m, s in pairs], [m + DEVIATIONS * s for m, s in pairs]


def _band(name: str, color: str, curves: Mapping[str, list[float]], method: str) -> Series:
    return Series(name, color, curves["band_x"], curves[f"band_{method}_mean"], *_edges(curves, method))


def _outlined(name: str, color: str, curves: Mapping[str, list[float]], method: str) -> list[Series]:
    low, high = _edges(curves, method)
    x = curves["band_x"]
    return [Series(f"{name}: {end}", color, x, y, dash=(4, 3)) for end, y in (("low", low), ("high", high))]
