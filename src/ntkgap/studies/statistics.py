"""Intervals over seeds, power laws in the width, and changes of sign."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy

CONFIDENCE = 0.95

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
    """Median over seeds with the exact order-statistic interval (the inverted sign test).

    The interval from the k-th smallest to the k-th largest value contains the true median with a probability
    that depends on nothing but k and the number of seeds; k is the largest that reaches ``confidence``, or 1.
    A percentile bootstrap of the median, the usual alternative, falls short of its nominal confidence with few
    seeds (88 % instead of 95 % with seven).

    Args:
        values: one number a seed; infinities (a diverged seed) are ordered like any other number.
        confidence: what is aimed at; what is reached is ``median_confidence``.

    Raises:
        ValueError: if there are no values or one of them is NaN.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    if ordered.size == 0 or np.isnan(ordered).any():
        raise ValueError("an interval needs at least one value and no NaN")
    k = _rank(ordered.size, confidence)
    upper, lower = ordered[ordered.size // 2], ordered[(ordered.size - 1) // 2]
    middle = upper if math.isinf(upper) else (lower + upper) / 2
    return Interval(float(middle), float(ordered[k - 1]), float(ordered[-k]))


def median_confidence(n_seeds: int, confidence: float = CONFIDENCE) -> float:
    """Probability that ``median_interval`` of so many seeds contains the median of a continuous quantity."""
    return 1 - 2 * float(scipy.stats.binom.cdf(_rank(n_seeds, confidence) - 1, n_seeds, 0.5))


def _rank(n: int, confidence: float) -> int:
    """Largest k for which the k-th smallest to the k-th largest of n values reach the confidence, at least 1."""
    return max(1, int(scipy.stats.binom.ppf((1 - confidence) / 2, n, 0.5)))


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

    @property
    def flattens(self) -> bool:
        """Whether the values clearly fall ever more slowly with width: then no power law describes them."""
        return self.curvature.low > 0

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


def _coefficient(values: Sequence[float]) -> Interval:
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
        exponent=_coefficient([a for a, _ in fits]),
        log_prefactor=float(np.mean([b for _, b in fits])),
        curvature=_coefficient([2 * float(q[0]) for q in quadratics]),
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
