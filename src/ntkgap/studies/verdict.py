"""Verdicts: does a claim hold over the width axis, and from which width."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ntkgap.one_line import one_line
from ntkgap.studies.claim import Claim
from ntkgap.studies.discoveries import level_p
from ntkgap.studies.extrapolation import MIN_WIDTHS, Extrapolation, extrapolate, widest_half
from ntkgap.studies.looks import Looks, deciding_probability
from ntkgap.studies.statistics import (
    FEWEST_SEEDS,
    Interval,
    PowerLaw,
    fit_power_law,
    median_confidence,
    median_interval,
)
from ntkgap.studies.trend import Trend, find_trend, replicates

State = Literal["holds", "fails", "inconclusive"]

NOT_TRIED = Extrapolation(None, "there are too few widths or seeds to fit a power law")


@dataclass(frozen=True)
class WidthResult:
    """A claim at one width.

    Attributes:
        width: the width.
        state: whether the whole interval is on one side of the threshold.
        interval: median over seeds with interval; None if seeds that could not be decided leave it open at both
            ends.
        n_seeds: number of seeds.
        reason: why the state is inconclusive.
        n_unknown: seeds that could not be decided; they enter the interval as the worst case at both ends.
        looks: how seeds were added where the verdict was open; None where their number was fixed before.
        next_seeds: how many the next look needs; None if there is none.
    """

    width: int
    state: State
    interval: Interval | None
    n_seeds: int
    reason: str = ""
    n_unknown: int = 0
    looks: Looks | None = None
    next_seeds: int | None = None

    __repr__ = one_line

    @property
    def confidence(self) -> float:
        """Probability that the interval contains the median; over all looks where there are several."""
        if self.looks is None:
            return median_confidence(self.n_seeds)
        return 1 - 2 * deciding_probability(0.5, self.looks.schedule)[0]


@dataclass(frozen=True)
class Verdict:
    """A claim judged over all widths of one problem.

    Attributes:
        claim: what was judged.
        problem: on which network and data.
        state: ``"holds"`` if it holds at the largest width (then ``holds_from`` says from where on),
            ``"fails"`` if it does not, ``"inconclusive"`` if that cannot be told.
        widths: result at every width, ascending.
        holds_from: smallest width from which on every tested width holds; None if the largest does not.
        fit: power law of the quantity over the widest half of the widths, where the claim has one.
        crossing: width at which that law meets the criterion, with interval, if it does so anywhere.
        effect: median at the largest width as a multiple of the threshold; NaN if inconclusive.
        trend: slope of the quantity over all widths, tested over seeds; None with too few of them.
        beyond: the width from which the claim would hold, beyond those tested, or why that cannot be told.
        p: two-sided probability of the values at the largest width if the threshold were their middle.
    """

    claim: Claim
    problem: str
    state: State
    widths: tuple[WidthResult, ...]
    holds_from: int | None
    fit: PowerLaw | None
    crossing: Interval | None
    effect: float
    trend: Trend | None = None
    beyond: Extrapolation = NOT_TRIED
    p: float = 1.0

    __repr__ = one_line

    @property
    def holds_everywhere(self) -> bool:
        """Whether the claim holds at every tested width."""
        return self.holds_from == self.widths[0].width

    @property
    def extrapolated(self) -> Interval | None:
        """Width from which the claim would hold, with its bracket, where it fails at all widths tested."""
        return self.beyond.width if self.state == "fails" else None

    @property
    def status(self) -> str:
        """The verdict in two or three words."""
        if self.state == "inconclusive":
            return "inconclusive"
        if self.state == "fails":
            return self.claim.failure_word
        return "holds" if self.holds_everywhere else f"holds from width {self.holds_from}"

    @property
    def sentence(self) -> str:
        """The verdict in a sentence, with the numbers behind it."""
        last, first = self.widths[-1], self.widths[0]
        if self.holds_everywhere:
            where = f"Holds at every width tested, {first.width} to {last.width}."
        elif self.state == "holds":
            where = f"Holds from width {self.holds_from} on, of widths {first.width} to {last.width} tested."
        elif self.state == "fails":
            where = f"{self.claim.failure_word.capitalize()} at the largest width tested, {last.width}."
        else:
            where = f"Inconclusive at the largest width tested, {last.width}: {last.reason}."
        return " ".join(part for part in (where, self._numbers(last), self._trend(), self._outlook()) if part)

    def _numbers(self, last: WidthResult) -> str:
        if last.interval is None:
            return ""
        i = last.interval
        limit = f"the limit is {number(self.claim.threshold)}."
        if last.n_seeds == 1:
            return f"There, {self.claim.label} is {number(i.value)} (one seed); {limit}"
        worst = f", {last.n_unknown} of them inconclusive and counted at both ends" if last.n_unknown else ""
        return (
            f"There, {self.claim.label} is {number(i.value)} [{number(i.low)}, {number(i.high)}] "
            f"({last.n_seeds} seeds{worst}, {last.confidence:.0%} interval); {limit}"
        )

    def _trend(self) -> str:
        if self.trend is None:
            return ""
        smallest, largest = self.trend.widths
        return f"Trend over widths {smallest} to {largest}: {self.trend.text}."

    def _outlook(self) -> str:
        """From which width the claim would hold, or why that cannot be said."""
        if self.holds_everywhere or self.fit is None:
            return ""
        fitted = fitted_widths([r.width for r in self.widths])
        if self.crossing is not None and fitted[0] <= self.crossing.value <= fitted[-1]:
            c = self.crossing
            where = f"{number(c.value)} [{number(c.low)}, {number(c.high)}]"
            return f"The fitted power law meets the limit at width {where}."
        if self.state != "fails":
            return ""
        if self.extrapolated is not None:
            return f"Extrapolated, it would hold from width {width_text(self.extrapolated)}."
        return f"From which width it would hold cannot be told from these widths: {self.obstacle}."

    @property
    def obstacle(self) -> str:
        """Why no width can be named from which the claim would hold."""
        return self.beyond.obstacle


def width_text(width: Interval) -> str:
    """An extrapolated width for people, with its bracket."""
    return f"{number(width.value)} [{number(width.low)}, {number(width.high)}]"


def number(value: float) -> str:
    """A number for people: three significant digits, powers of ten where they are large or small."""
    if math.isnan(value):
        return "inconclusive"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"  # whatever its sign
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def judge_width(
    claim: Claim, width: int, values: Sequence[float], bounds: Sequence[tuple[float, float]] | None = None
) -> WidthResult:
    """Judge a claim at one width.

    Args:
        claim: the claim.
        width: the width.
        values: one number a seed, NaN where inconclusive.
        bounds: between what each of them lies, where they are uncertain themselves. The interval then reaches from
            the lower end of that of all lower bounds to the upper end of that of all upper bounds.
    """
    n = len(values)
    unknown = sum(math.isnan(v) for v in values)
    seeds = f"{unknown} of {n} seeds: {claim.inconclusive}" if unknown else ""
    interval = median_interval(values)
    if unknown and interval.low == -math.inf:
        return WidthResult(width, "inconclusive", None, n, seeds, unknown)
    if bounds is not None:
        low, high = (median_interval(ends) for ends in zip(*bounds, strict=True))
        interval = replace(interval, low=low.low, high=high.high)
    ends = (claim.side(interval.low), claim.side(interval.high))
    if n < FEWEST_SEEDS:
        few = "a single seed gives no interval" if n == 1 else f"{n} seeds are too few for a verdict, take 6"
        return WidthResult(width, "inconclusive", interval, n, few, unknown)
    if ends in ((1, 1), (-1, -1)):
        return WidthResult(width, "holds" if ends[0] > 0 else "fails", interval, n, "", unknown)
    name = f"the {median_confidence(n):.0%} interval"
    reason = f"{name} {'ends at the threshold' if 0 in ends else 'contains the limit'}"
    if ends == (0, 0):
        reason = "at the threshold"
    return WidthResult(width, "inconclusive", interval, n, "; ".join(filter(None, (reason, seeds))), unknown)


def judge(
    claim: Claim,
    problem: str,
    values: Mapping[int, Mapping[int, float]],
    bounds: Mapping[int, Mapping[int, tuple[float, float]]] | None = None,
) -> Verdict:
    """Judge a claim over the width axis.

    Args:
        claim: the claim.
        problem: name of the network and data.
        values: the claim's quantity by seed, by width: ``{width: {seed: value}}``; at least one width.
        bounds: between what each value lies, in the same form; the values are certain where not given.
    """
    ends = {w: [bounds[w][seed] for seed in seeds] for w, seeds in values.items()} if bounds else {}
    widths = [judge_width(claim, w, list(values[w].values()), ends.get(w)) for w in sorted(values)]
    return verdict_of(claim, problem, widths, values, level_p(claim, list(values[max(values)].values())))


def verdict_of(
    claim: Claim,
    problem: str,
    widths: Sequence[WidthResult],
    values: Mapping[int, Mapping[int, float]],
    p: float,
) -> Verdict:
    """A verdict over the width axis from those at its widths.

    Args:
        claim: the claim.
        problem: name of the network and data.
        widths: results, ascending.
        values: as of ``judge``, for the trend and the power law.
        p: of the largest width.
    """
    last = widths[-1]
    holds_from = None
    for result in reversed(widths):
        if result.state != "holds":
            break
        holds_from = result.width
    fit = _fit(claim, values)
    crossing = fit.crossing(claim.threshold) if fit else None
    effect = last.interval.value / claim.threshold if last.interval and claim.threshold else math.nan
    beyond = extrapolate(claim, replicates(values, True), last.width) if fit else NOT_TRIED
    return Verdict(
        claim,
        problem,
        last.state,
        tuple(widths),
        holds_from,
        fit,
        crossing,
        effect,
        trend=find_trend(values, claim.log_scale),
        beyond=beyond,
        p=p,
    )


def fitted_widths(widths: Sequence[int]) -> list[int]:
    """The widest half of the widths, three at least, to which power laws are fitted."""
    return sorted(widths)[widest_half(len(widths)) :]


def _fit(claim: Claim, values: Mapping[int, Mapping[int, float]]) -> PowerLaw | None:
    """Fit the widest half of the widths: narrow networks have laws of their own, and we look outward."""
    if not claim.log_scale or claim.direction != "below":
        return None
    by_seed: dict[int, dict[int, float]] = {}
    for width in fitted_widths(list(values)):
        for seed, value in values[width].items():
            by_seed.setdefault(seed, {})[width] = value
    return fit_power_law(by_seed, MIN_WIDTHS)
