"""From which width beyond those tested a claim would hold, or why these widths cannot tell."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ntkgap.studies.claim import Claim
from ntkgap.studies.statistics import Interval, coefficient_interval, student_interval
from ntkgap.studies.trend import MIN_SEEDS, Replicates

# A width further out than this many times the widest one measured is not named.
REACH = 10.0
MIN_WIDTHS = 3


@dataclass(frozen=True)
class Extrapolation:
    """What the widths tested say of wider ones.

    Attributes:
        width: from which the claim would hold, with its bracket; None if that cannot be told.
        obstacle: why not; empty if it can.
    """

    width: Interval | None
    obstacle: str = ""


def extrapolate(claim: Claim, found: Replicates, widest: int) -> Extrapolation:
    r"""Bracket the width W* at which a falling quantity meets its limit L.

    No power law is assumed to go on: beyond the widest width W the local exponent may be anything between the one
    fitted to the widest half of the widths, s, and theory's, e, toward which it bends:

    .. math:: W \left(\frac{v}{L}\right)^{1/|\min(s, e)|} \le W^* \le W \left(\frac{v}{L}\right)^{1/|\max(s, e)|}

    with v the geometric mean at W and s each at the unfavorable end of their Student-t intervals over seeds. The
    value is the geometric middle of the two crossings without those intervals.

    No width is named where a floor at the limit fits as well: log(v − L) over log width must clearly bend downward
    over all widths (at 95 %, jackknife over seeds) and over the widest half of them (at 80 %). Of a law that
    flattens out at L or above, the second is so one time in ten at most, whatever narrow networks do.

    Where v at W is not told from the limit, the bracket begins at W, for the claim may hold there already; against
    the floor v at W then counts with the upper end of its interval, the end that speaks for a floor.

    Args:
        claim: with a limit from above, in logarithms.
        found: the quantity by seed and width.
        widest: the largest width tested.

    Returns:
        The bracket, not beyond ten times the widest width, or the obstacle. In simulation 94 % of brackets or more
        contain the crossing, 86 % where hardly one is named; without a crossing 3 % of sweeps or fewer have one
        (benchmarks/README.md).
    """
    theory = claim.exponent if claim.slowest_exponent is None else claim.slowest_exponent
    n_seeds, n_widths = found.values.shape
    if n_seeds < MIN_SEEDS or n_widths < MIN_WIDTHS:
        return Extrapolation(None, "there are too few widths or seeds that are decided throughout")
    if found.widths[-1] != widest:
        return Extrapolation(None, "not every seed is decided at the largest width")
    x, y = np.log(found.widths), np.log(found.values)
    half = widest_half(n_widths)
    slope = coefficient_interval(np.polyfit(x[half:], y[:, half:].T, 1)[0].tolist())
    if slope.low > 0:
        return Extrapolation(None, "the measurements grow with width")
    if slope.high >= 0:
        shown = f"{slope.value:z.2f} [{slope.low:z.2f}, {slope.high:z.2f}]"
        return Extrapolation(None, f"the measurements do not clearly fall with width (exponent {shown})")
    if theory is None or theory >= 0:
        return Extrapolation(None, "theory names no exponent toward which the measurements would go on falling")
    above = student_interval((y[:, -1] - math.log(claim.threshold)).tolist())
    if above.high <= 0:
        return Extrapolation(None, "the measurements are below the limit already")
    if above.low <= 0:
        y = y + (above.high - above.value) * (np.arange(n_widths) == n_widths - 1)
    if _floor_fits(x, y, claim.threshold, half):
        return Extrapolation(None, "a floor above the limit fits the measurements as well as a law that falls on")
    crossings = [x[-1] + max(above.value, 0.0) / -e for e in (slope.value, theory)]
    earliest = x[-1] + max(above.low, 0.0) / -min(slope.low, theory)
    latest = x[-1] + above.high / -max(slope.high, theory)
    if latest > x[-1] + math.log(REACH):
        return Extrapolation(None, f"it may be more than {REACH:.0f} times the largest width")
    return Extrapolation(Interval(*(math.exp(w) for w in (float(np.mean(crossings)), earliest, latest))))


def widest_half(n_widths: int) -> int:
    """Index of the first of the widest half of so many widths, three at least."""
    return max(0, n_widths - max(MIN_WIDTHS, math.ceil(n_widths / 2)))


def _floor_fits(x: NDArray[np.float64], y: NDArray[np.float64], limit: float, half: int) -> bool:
    """Whether a law that never falls below the limit is not excluded.

    Args:
        x: log width.
        y: log quantity, [seeds, widths].
        limit: the limit.
        half: index of the first of the widest half.
    """
    # Of a law that flattens in the widest half, one in ten bends downward there by chance.
    return not (_bends_down(x, y, limit, 0.95) and _bends_down(x[half:], y[:, half:], limit, 0.8))


def _bends_down(x: NDArray[np.float64], y: NDArray[np.float64], limit: float, confidence: float) -> bool:
    """Whether log(v − L) clearly bends downward over log width: jackknife over seeds, with Student's t."""
    n, full = len(y), _bend(x, y, limit)
    left_out = [_bend(x, np.delete(y, seed, axis=0), limit) for seed in range(n)]
    if any(map(math.isnan, (full, *left_out))):
        return False
    return full < 0 and student_interval([n * full - (n - 1) * one for one in left_out], confidence).high < 0


def _bend(x: NDArray[np.float64], y: NDArray[np.float64], limit: float) -> float:
    """Quadratic coefficient of log(v − L) over log width, v the geometric mean over seeds; NaN where v ≤ L."""
    above = np.exp(y.mean(axis=0)) - limit
    return float(np.polyfit(x, np.log(above), 2)[0]) if (above > 0).all() else math.nan
