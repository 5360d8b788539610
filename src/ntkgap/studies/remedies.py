"""What would decide a verdict that is inconclusive: how many seeds, at which width, in what time."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from ntkgap.studies.base import BaseStudy
from ntkgap.studies.looks import deciding_chance, side_of
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import RECOMMENDED_SEEDS, interval_rank
from ntkgap.studies.verdict import Verdict, number

# Numbers of seeds that are not likelier than this to decide are not recommended.
LIKELY = 0.5
# Widths beyond so many times the largest tested are not recommended.
FURTHEST = 10.0


def remedy(study: BaseStudy, verdict: Verdict, cells: Sequence[Measured]) -> str:
    """What would decide an inconclusive verdict, in a few sentences; empty if it is decided.

    The seeds so far say how probable each number of seeds is to decide (``looks.deciding_chance``); the trend over
    width at which width the interval, shifted along it, would leave the limit. Both are estimates.

    Args:
        study: whose claim it is.
        verdict: over width.
        cells: of its problem, as they were measured, of all seeds.
    """
    if verdict.state in ("holds", "fails"):
        return ""
    last, claim = verdict.widths[-1], verdict.claim
    here = [c for c in cells if c.width == last.width and claim.quantity in {*c.scalars} - {*c.not_asked}]
    sides = [side_of(claim, *cell.bounds(claim.quantity)) for cell in here]
    wider = _wider(verdict)
    if 2 * last.n_unknown >= last.n_seeds and last.n_seeds > 2:
        return f"More seeds will hardly decide it: {claim.inconclusive}.{wider}"
    ranks = dict(last.looks.schedule) if last.looks else {n: interval_rank(n) for n in RECOMMENDED_SEEDS}
    chances = {n: deciding_chance(sides, n, k) for n, k in ranks.items() if n > len(sides)}
    if not chances or (last.looks and last.next_seeds is None):
        return f"The value is too near its limit for so many seeds.{wider}"
    n = next((n for n, chance in chances.items() if chance >= LIKELY), max(chances))
    time = _duration(sum(_seconds(study, cells, claim.quantity, last.width).values()) * (n - len(sides)))
    if chances[n] < LIKELY:
        return (
            f"The value is near its limit: even {n} seeds (about {time} of one core more) would decide it with a "
            f"probability of {chances[n]:.0%} only.{wider}"
        )
    return (
        f"About {n} seeds would decide it, with a probability of {chances[n]:.0%}: {n - len(sides)} more at width "
        f"{last.width}, about {time} of one core.{wider}"
    )


def remedies(
    study: BaseStudy, verdicts: Sequence[Verdict], cells: Mapping[str, Sequence[Measured]]
) -> dict[tuple[str, str], str]:
    """What would decide each inconclusive verdict, by key of the claim and problem.

    Args:
        study: whose claims they are.
        verdicts: over width.
        cells: as they were measured, of all seeds, by problem.
    """
    found = {(v.claim.key, v.problem): remedy(study, v, cells.get(v.problem, ())) for v in verdicts}
    return {place: text for place, text in found.items() if text}


def _seconds(study: BaseStudy, cells: Sequence[Measured], quantity: str, width: int) -> dict[int, float]:
    """Seconds of one more seed, by width; a comparison of widths needs the narrower ones too."""
    compared = (
        study.compares_widths
        and any(quantity in c.scalars for c in cells if c.width == width)
        and not all(quantity in c.scalars for c in cells)
    )
    widths = {c.width for c in cells if c.width == width or (compared and c.width < width)}
    return {w: median(c.seconds for c in cells if c.width == w) for w in widths}


def _wider(verdict: Verdict) -> str:
    """At which larger width the interval would be on one side, were it shifted along the trend."""
    last, trend, claim = verdict.widths[-1], verdict.trend, verdict.claim
    if last.interval is None or trend is None or trend.direction == "no clear trend":
        return ""
    end = last.interval.high if trend.direction == "falls" else last.interval.low
    per_e_fold = trend.slope.value if trend.log_scale else trend.slope.value / math.log(10)
    if not math.isfinite(end) or (trend.log_scale and end <= 0):
        return ""
    distance = math.log(claim.threshold / end) if trend.log_scale else claim.threshold - end
    factor = math.exp(min(distance / per_e_fold, 50.0))
    if not 1 < factor <= FURTHEST:
        return ""
    return f" So would the same seeds at a width of about {number(last.width * factor)}, if the trend goes on."


def _duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.0f} hours"
