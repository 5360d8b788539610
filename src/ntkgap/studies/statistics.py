"""Intervals over seeds, power laws in the width, and changes of sign."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import scipy
from numpy.typing import NDArray

from ntkgap.errors import StudyError

CONFIDENCE = 0.95

# At these numbers of seeds the exact interval is nearest to 95 % from above: 96.9, 96.1, 96.1, 95.9 %.
RECOMMENDED_SEEDS = (6, 9, 12, 20)

# Two seeds on one side of a limit say nothing: so they are with a probability of one half where it is the median.
FEWEST_SEEDS = 3

# Exponents and curvatures are known to no more than the rounding of their least squares, which differs from one
# machine to the next: a law that is exact for every seed has no spread over seeds to hide it.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Interval:
    """A number with an interval around it; bounds may be infinite."""

    value: float
    low: float
    high: float


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    r"""Median over seeds with an interval between order statistics (Hettmansperger and Sheather).

    The exact interval from the k-th smallest to the k-th largest of n values jumps with n: at 95 % eight values
    need k = 1, which covers 99.2 % and decides less than five do. So the bounds lie between two order statistics:

    .. math:: (1 - \lambda)\, x_{(k)} + \lambda\, x_{(k+1)}, \quad
              \lambda = \frac{(n - k) I}{k + (n - 2k) I}, \quad
              I = \frac{\gamma_k - \gamma}{\gamma_k - \gamma_{k+1}}

    with γ the confidence asked for and γ_k = 1 − 2 P(Bin(n, ½) < k) that of the k-th pair, k the largest that
    reaches γ. With five values or fewer none does, and the interval is their range. It assumes a continuous
    distribution of independent values, and no symmetry, which a signed-rank interval needs
    (benchmarks/coverage.py has both).

    Args:
        values: one number a seed. Infinities (a diverged seed) are ordered like any other number. NaN (a seed that
            could not be decided) is the worst case at both ends: −∞ for the lower bound, ∞ for the upper one.
        confidence: what is aimed at; what is reached is ``median_confidence``.

    Returns:
        The median of the values that are not NaN, and the interval.

    Raises:
        StudyError: if there are no values.

    Source: Hettmansperger, Sheather 1986, Statistics & Probability Letters 4, 75-79.
    """
    if len(values) == 0:
        raise StudyError("an interval over seeds needs at least one value, and there is none")
    median, from_below, from_above = _ordered(values)
    k, inward = _ranks(len(values), confidence)
    return Interval(median, _between(from_below, k, inward), _between(from_above, k, inward))


def order_statistic_interval(values: Sequence[float], k: int) -> Interval:
    """Median with the interval from the k-th smallest to the k-th largest value, exact for any distribution.

    Its confidence is 1 − 2 P(Bin(n, ½) < k). NaN is treated as by ``median_interval``.

    Raises:
        StudyError: if k is not from 1 to half of the number of values, rounded up.
    """
    if not 1 <= k <= (len(values) + 1) // 2:
        raise StudyError(f"k = {k} is no rank of an interval from {len(values)} values; take 1 to half of them")
    median, from_below, from_above = _ordered(values)
    return Interval(median, float(from_below[k - 1]), float(from_above[k - 1]))


def median_confidence(n_seeds: int, confidence: float = CONFIDENCE) -> float:
    """Probability that ``median_interval`` of so many seeds contains the median of a continuous quantity.

    Exact where the interval is the range, within half a percent where it lies between order statistics.
    """
    return min(confidence, _pair_confidence(n_seeds, 1))


def interval_rank(n_seeds: int, confidence: float = CONFIDENCE) -> int:
    """Rank k, from either end, of the order statistics that ``median_interval`` at most reaches out to."""
    return _ranks(n_seeds, confidence)[0]


def seeds_advice(n_seeds: int) -> str:
    """What to say before so many seeds are run: empty where there is nothing to say.

    With six to eight seeds the outermost two bound the median, so that one seed that cannot be decided leaves a
    verdict open, and looks at 6, 12 and 20 seeds do not use the seventh and the eighth. Nine bear one such seed.
    """
    if n_seeds not in (7, 8):
        return ""
    counts = ", ".join(map(str, RECOMMENDED_SEEDS))
    return (
        f"{n_seeds} seeds cost more than 6 and, like 6, leave a verdict open if one seed is inconclusive; 9 do "
        f"not: take one of {counts} seeds"
    )


def _pair_confidence(n: int, k: int) -> float:
    """γ_k: probability that the k-th smallest to the k-th largest of n values contain the median."""
    return 1 - 2 * float(scipy.stats.binom.cdf(k - 1, n, 0.5))


@cache
def _ranks(n: int, confidence: float) -> tuple[int, float]:
    """The rank k and the part λ of the way from the k-th to the next order statistic."""
    k = max(1, int(scipy.stats.binom.ppf((1 - confidence) / 2, n, 0.5)))
    reached, missed = _pair_confidence(n, k), _pair_confidence(n, k + 1)
    if reached <= confidence:
        return k, 0.0
    i = (reached - confidence) / (reached - missed)
    return k, (n - k) * i / (k + (n - 2 * k) * i)


def _between(ordered: NDArray[np.float64], k: int, inward: float) -> float:
    """A bound between the k-th value from outside and the next; the outer one where either is infinite."""
    outer = float(ordered[k - 1])
    if inward == 0 or math.isinf(outer) or math.isinf(ordered[k]):
        return outer
    return (1 - inward) * outer + inward * float(ordered[k])


def _ordered(values: Sequence[float]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The median of what is decided, then all values ascending and descending, NaN as the outermost of each."""
    given = np.asarray(values, dtype=float)
    unknown = np.isnan(given)
    ascending = np.sort(np.where(unknown, -math.inf, given))
    descending = -np.sort(-np.where(unknown, math.inf, given))
    decided = np.sort(given[~unknown])
    if decided.size == 0:
        return math.nan, ascending, descending
    upper, lower = float(decided[decided.size // 2]), float(decided[(decided.size - 1) // 2])
    return (upper if math.isinf(upper) else (lower + upper) / 2), ascending, descending


@dataclass(frozen=True)
class PowerLaw:
    """value ≈ prefactor · width^exponent, fitted seed by seed.

    Attributes:
        exponent: mean over seeds with Student-t interval, never narrower than the rounding of the fit.
        log_prefactor: mean over seeds of the natural logarithm of the prefactor.
        curvature: mean over seeds, with Student-t interval, of the second derivative of log value in log width.
        per_seed: (exponent, log prefactor) of every seed.
        bent: mean over seeds of the quadratic's coefficients, in falling powers of log width.
    """

    exponent: Interval
    log_prefactor: float
    curvature: Interval
    per_seed: tuple[tuple[float, float], ...]
    bent: tuple[float, float, float]

    def __call__(self, width: float) -> float:
        """The fitted value at a width."""
        return math.exp(self.log_prefactor + self.exponent.value * math.log(width))

    def crossing(self, level: float) -> Interval | None:
        """Width at which the law falls to ``level``, with an interval.

        The interval covers the spread over seeds (Student-t in log width) and the width at which a law with
        the measured curvature would get there, which may be infinite: straightness is an assumption too.
        None if the exponent's interval reaches zero: then no width is known to be enough.
        """
        if not self.exponent.high < 0:
            return None
        log_widths = [(math.log(level) - b) / a for a, b in self.per_seed if a < 0]
        if len(log_widths) < len(self.per_seed):
            return None
        straight = student_interval(log_widths)
        bent = self._bent_crossing(level)
        return Interval(_exp(straight.value), _exp(min(straight.low, bent)), _exp(max(straight.high, bent)))

    def _bent_crossing(self, level: float) -> float:
        """Log width at which the quadratic first falls to ``level``; infinite if it turns before."""
        a, b, c = self.bent
        falling = [
            r.real for r in np.roots([a, b, c - math.log(level)]) if abs(r.imag) < 1e-9 and 2 * a * r.real + b < 0
        ]
        return min(falling, default=math.inf)


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def student_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean with Student-t interval; infinite bounds for a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, -math.inf, math.inf)
    half = float(scipy.stats.sem(values) * scipy.stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    return Interval(mean, mean - half, mean + half)


def coefficient_interval(values: Sequence[float]) -> Interval:
    """Mean over seeds of a fitted coefficient, with an interval that contains the rounding of the fit."""
    interval = student_interval(values)
    return Interval(interval.value, interval.low - ROUNDING, interval.high + ROUNDING)


def fit_power_law(by_seed: Mapping[int, Mapping[int, float]], min_widths: int) -> PowerLaw | None:
    """Fit value ∝ width^exponent by least squares in logarithms, once for every seed.

    Every seed is a replicate of the whole sweep (its own data, its own networks at all widths), so the
    spread of the fits over seeds is the uncertainty of the exponent, whatever the noise is shared between
    widths. Values that are not positive and finite are left out.

    Args:
        by_seed: value by width, by seed.
        min_widths: seeds with fewer usable widths are left out; at least 3.

    Returns:
        The fit, or None if fewer than two seeds can be fitted.
    """
    fits, quadratics = [], []
    for values in by_seed.values():
        usable = [(w, v) for w, v in values.items() if math.isfinite(v) and v > 0]
        if len(usable) >= min_widths:
            log_width, log_value = np.log(np.asarray(usable, dtype=float)).T
            slope, intercept = np.polyfit(log_width, log_value, 1)
            fits.append((float(slope), float(intercept)))
            quadratics.append(np.polyfit(log_width, log_value, 2))
    if len(fits) < 2:
        return None
    return PowerLaw(
        exponent=coefficient_interval([a for a, _ in fits]),
        log_prefactor=float(np.mean([b for _, b in fits])),
        curvature=coefficient_interval([2 * float(q[0]) for q in quadratics]),
        per_seed=tuple(fits),
        bent=tuple(float(mean) for mean in np.mean(quadratics, axis=0)),  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class Crossing:
    """Where a curve of medians changes its sign.

    Attributes:
        at: the place, and around it the places at which the intervals hold zero; 0 or infinity where that does
            not end within the curve.
        rising: whether it comes from below.
    """

    at: Interval
    rising: bool


def zero_crossings(x: Sequence[float], intervals: Sequence[Interval]) -> list[Crossing]:
    """Every sign change of medians along positive x, all interpolated linearly in log x.

    The interval around a crossing inverts those of the medians: it begins where the bound on the far side of zero
    gets there, and ends where the other bound leaves it. Each place outside it has another sign at the confidence
    of the intervals, place by place.

    Args:
        x: ascending.
        intervals: a median with its interval at each.
    """
    medians, lows, highs = ([getattr(i, part) for i in intervals] for part in ("value", "low", "high"))
    found = []
    for place, rising in _sign_changes(x, medians):
        first, last = (highs, lows) if rising else (lows, highs)
        before = [at for at, up in _sign_changes(x, first) if up == rising and at <= place]
        later = [at for at, up in _sign_changes(x, last) if up == rising and at >= place]
        found.append(Crossing(Interval(place, max(before, default=0.0), min(later, default=math.inf)), rising))
    return found


def _sign_changes(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, bool]]:
    """Where y goes through zero, and whether upwards; zeros belong to the sign before them."""
    known = [(a, b) for a, b in zip(x, y, strict=True) if b != 0]
    found = []
    for (left, a), (right, b) in pairwise(known):
        if (a < 0) != (b < 0):
            part = 1.0 if math.isinf(a) else 0.0 if math.isinf(b) else a / (a - b)
            found.append((math.exp((1 - part) * math.log(left) + part * math.log(right)), a < 0))
    return found
