"""Charts of claims: their quantity over width or over another setting, with its limit."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ntkgap.reporting.charts.colors import MEASURED, SOFT, THEORY
from ntkgap.reporting.charts.panel import Panel, Rule, Series
from ntkgap.reporting.variations import AxisSection, most_moved
from ntkgap.studies.axes import AxisVerdict
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import Interval
from ntkgap.studies.variations import value_text
from ntkgap.studies.verdict import Verdict, fitted_widths, number

Point = tuple[float, Interval]


def claim_panels(verdicts: Sequence[Verdict], cells: Mapping[str, Sequence[Measured]]) -> list[Panel]:
    """The quantity of one claim over width, a panel a problem.

    Args:
        verdicts: the claim's verdict on every problem.
        cells: what was measured, by problem.
    """
    return [_claim_panel(verdict, cells[verdict.problem]) for verdict in verdicts]


def _claim_panel(verdict: Verdict, cells: Sequence[Measured]) -> Panel:
    claim = verdict.claim
    seeds = [(float(c.width), c.scalars[claim.quantity]) for c in cells if claim.quantity in c.scalars]
    decided = [(float(r.width), r.interval) for r in verdict.widths if r.interval]
    return Panel(
        title=verdict.problem,
        x_label="width",
        y_label=claim.label,
        series=(*_measured(decided, seeds, claim.log_scale), *_theory(verdict)),
        rules=(Rule(f"limit {number(claim.threshold)}", claim.threshold),),
        y_log=claim.log_scale,
        x_ticks=tuple(float(r.width) for r in verdict.widths),
        holds=claim.direction,
        note=missing(seeds),
    )


def _measured(decided: Sequence[Point], seeds: Sequence[tuple[float, float]], log: bool) -> list[Series]:
    """Medians with intervals, no further than the seeds reach, and the seeds."""
    finite = [y for _, y in seeds if math.isfinite(y) and (y > 0 or not log)]
    bottom, top = (min(finite), max(finite)) if finite else (math.nan, math.nan)
    places = [x for x, _ in decided]
    middles = [i.value for _, i in decided]
    low, high = [max(i.low, bottom) for _, i in decided], [min(i.high, top) for _, i in decided]
    dots = sorted(seeds)
    return [
        Series("single seeds", MEASURED, [x for x, _ in dots], [y for _, y in dots], kind="seeds"),
        Series("measured", MEASURED, places, middles, low, high, "marked"),
    ]


def _theory(verdict: Verdict) -> list[Series]:
    """The predicted power law through the widest measurement, the fitted one, and where the claim would hold."""
    claim, fit, found = verdict.claim, verdict.fit, []
    widths = [float(r.width) for r in verdict.widths]
    last = next((r for r in reversed(verdict.widths) if r.interval and math.isfinite(r.interval.value)), None)
    if claim.exponent is not None and last is not None and last.interval is not None and last.interval.value > 0:
        line = [last.interval.value * (w / last.width) ** claim.exponent for w in widths]
        found.append(Series(f"theory: ∝ width^{claim.exponent:.3g}", THEORY, widths, line, dash=(2, 3)))
    if fit is not None:
        span = [
            float(w) for w in np.geomspace(fitted_widths([r.width for r in verdict.widths])[0], widths[-1], 12)
        ]
        e = fit.exponent
        name = f"fit: ∝ width^({e.value:.2f} [{e.low:.2f}, {e.high:.2f}])"
        found.append(Series(name, SOFT, span, [fit(w) for w in span], dash=(7, 3, 2, 3)))
    if beyond := verdict.extrapolated:
        name = f"would hold from {number(beyond.value)}"
        found.append(Series(name, THEORY, [beyond.value], [claim.threshold], kind="points"))
    return found


def missing(seeds: Sequence[tuple[float, float]], what: str = "width") -> str:
    """Which places have seeds that are not in the picture, and why."""
    parts = []
    for test, word in ((math.isinf, "diverged or stopped"), (math.isnan, "inconclusive")):
        if places := sorted({x for x, y in seeds if test(y)}):
            parts.append(f"{word} at {what} {', '.join(f'{x:g}' for x in places)}")
    return f"Not drawn: {'; '.join(parts)}" if parts else ""


def axis_panels(section: AxisSection) -> list[Panel]:
    """The numbers that a setting moves most, a panel a claim."""
    return [_axis_panel(verdict) for verdict in most_moved(section.verdicts)]


def _axis_panel(verdict: AxisVerdict) -> Panel:
    claim, along = verdict.claim, verdict.along
    values = list(along.points)
    logarithmic = along.numeric and all(v > 0 for v in values)  # type: ignore[operator]
    # Values without an order stand side by side, at the places 1, 2, ...
    places = {v: float(v) if logarithmic else i + 1.0 for i, v in enumerate(values)}  # type: ignore[arg-type]
    seeds = [
        (places[v], cell.scalars[claim.quantity])
        for v, cells in along.points.items()
        for cell in cells
        if claim.quantity in cell.scalars
    ]
    decided = [(places[v], r.interval) for v, r in verdict.results.items() if r.interval]
    key = "" if logarithmic else ": " + ", ".join(f"{places[v]:g} is {value_text(v)}" for v in values)
    return Panel(
        title=claim.title,
        x_label=along.label + key,
        y_label=claim.label,
        series=tuple(_measured(decided, seeds, claim.log_scale)),
        rules=(
            Rule(f"limit {number(claim.threshold)}", claim.threshold),
            *([Rule("", places[along.own], True, (1, 3))] if along.own in places else []),
        ),
        x_log=logarithmic,
        y_log=claim.log_scale,
        x_ticks=tuple(places.values()),
        holds=claim.direction,
        note=missing(seeds, along.label),
    )
