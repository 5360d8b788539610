"""Simulated worlds with a known truth on which verdicts are judged; benchmarks/coverage.py runs them at length."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy

from ntkgap.studies.claim import Claim
from ntkgap.studies.discoveries import control
from ntkgap.studies.extrapolation import extrapolate
from ntkgap.studies.statistics import Interval
from ntkgap.studies.trend import Replicates, find_trend
from ntkgap.studies.verdict import judge

WIDTHS = np.array([64.0, 256.0, 1024.0, 4096.0, 8192.0])

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

# Noise with median zero; all but the last two are symmetric. A power of one standard deviation is for the normal.
NOISE: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "Laplace": lambda rng, shape: rng.laplace(size=shape),
    "t, 3 degrees": lambda rng, shape: rng.standard_t(3, shape),
    "log-normal": lambda rng, shape: np.exp(rng.standard_normal(shape)) - 1,
    "exponential": lambda rng, shape: rng.exponential(size=shape) - math.log(2),
}


def make_claim(exponent: float | None = None, **changes) -> Claim:
    """A claim that a positive quantity is below 1."""
    settings = {
        "key": "toy",
        "title": "toy",
        "statement": "toy",
        "source": "none",
        "kind": "consequence",
        "quantity": "q",
        "label": "q",
        "threshold": 1.0,
        "direction": "below",
        "criterion": "q < 1",
        "prediction": "0",
        "exponent": exponent,
    }
    return Claim(**(settings | changes))


def signed_rank_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Hodges-Lehmann's interval from the Walsh averages (inverted signed-rank test), which assumes symmetry."""
    x = np.asarray(values)
    n = len(x)
    averages = np.sort((x[:, None] + x)[np.triu_indices(n)] / 2)
    counts = np.array([1.0])  # number of sign patterns by rank sum
    for rank in range(1, n + 1):
        counts = np.convolve(counts, np.r_[1.0, np.zeros(rank - 1), 1.0])
    tail = np.cumsum(counts) / 2**n
    k = max(1, int(np.sum(tail <= (1 - confidence) / 2)))
    return Interval(float(np.median(averages)), float(averages[k - 1]), float(averages[-k]))


def interval_rates(interval, n: int, noise: str, rng: np.random.Generator, times: int) -> tuple[float, float]:
    """How often an interval contains the median, and how often it is clear of a limit one unit away."""
    found = [interval(row) for row in NOISE[noise](rng, (times, n))]
    covered = np.mean([i.low <= 0 <= i.high for i in found])
    return float(covered), float(np.mean([i.low > -1 for i in found]))


def trend_size(n: int, noise: str, rng: np.random.Generator, times: int) -> float:
    """How often a trend is seen at p < 0.05 where there is none."""
    draws = NOISE[noise](rng, (times, n, len(WIDTHS)))
    found = [
        find_trend({int(w): dict(enumerate(row[:, j])) for j, w in enumerate(WIDTHS)}, False) for row in draws
    ]
    return float(np.mean([t is not None and t.p < 0.05 for t in found]))


def null_world(n: int, noise: str, rng: np.random.Generator, pages: int, claims: int = 40) -> tuple[float, float]:
    """Every truth at its limit: wrong verdicts a page at the largest width, and pages with one that stands."""
    wrong, spoilt = 0, 0
    for _ in range(pages):
        values = np.exp(0.3 * NOISE[noise](rng, (claims, n)))
        verdicts = [
            judge(make_claim(key=str(i)), "p", {8192: dict(enumerate(row))}) for i, row in enumerate(values)
        ]
        found = control(verdicts)
        wrong += found.n_decided
        spoilt += bool(found.standing)
    return wrong / pages, spoilt / pages


def mixed_world(n: int, distance: float, rng: np.random.Generator, pages: int) -> tuple[float, float]:
    """Half of 40 truths at their limits: fraction of the others that stands, of those standing that is wrong."""
    right, wrong_parts = 0, []
    for _ in range(pages):
        middle = np.repeat([0.0, -distance], 20)[:, None]
        values = np.exp(0.3 * (middle + rng.standard_normal((40, n))))
        verdicts = [
            judge(make_claim(key=str(i)), "p", {8192: dict(enumerate(row))}) for i, row in enumerate(values)
        ]
        standing = {int(key) for key, _ in control(verdicts).standing}
        right += sum(i >= 20 for i in standing)
        wrong_parts.append(sum(i < 20 for i in standing) / max(1, len(standing)))
    return right / (20 * pages), float(np.mean(wrong_parts))


def law(truth: str, ratio: float) -> Callable[[np.ndarray], np.ndarray]:
    """A law over width that is ``ratio`` times the limit 1 at the largest width.

    ``straight``: a power law of theory's exponent −¼; ``steep``: one of −0.39, steeper than theory says; ``bent``:
    of local exponent −0.39 at the largest width, bending to −¼; ``flat``: toward a floor a tenth above the limit;
    ``floor``: toward the limit itself, which it never meets; ``late``: flat for narrow networks, then toward a
    floor a tenth above the limit.
    """

    def at(width: np.ndarray) -> np.ndarray:
        x = np.asarray(width) / WIDTHS[-1]
        match truth:
            case "straight":
                return ratio * x**-0.25
            case "steep":
                return ratio * x**-0.39
            case "bent":
                return ratio * (0.72 * x**-0.25 + 0.28 * x**-0.75)
            case "flat":
                return 1.1 + (ratio - 1.1) * x**-0.5
            case "floor":
                return 1.0 + (ratio - 1.0) * x**-0.25
            case _:
                return 1.1 + (ratio - 1.1) / (0.02 + 0.98 * x**0.6)

    return at


def crossing(truth: str, ratio: float) -> float:
    """Width at which a law meets the limit; infinite if it does not."""
    at = law(truth, ratio)
    far = WIDTHS[-1] * 1e12
    if at(far) >= 1:
        return math.inf
    log_width = scipy.optimize.brentq(lambda z: float(at(math.exp(z))) - 1, math.log(WIDTHS[-1]), math.log(far))
    return math.exp(log_width)


def bracket_rates(
    truth: str, ratio: float, n: int, noise: float, rng: np.random.Generator, times: int
) -> tuple[float, float]:
    """How often a width is named, and how often its bracket contains the true one where one is named."""
    at, true, claim = law(truth, ratio), crossing(truth, ratio), make_claim(-0.25)
    named = []
    for _ in range(times):
        values = at(WIDTHS) * np.exp(noise * rng.standard_normal((n, len(WIDTHS))))
        if (found := extrapolate(claim, Replicates(WIDTHS, values), int(WIDTHS[-1]))).width is not None:
            named.append(found.width)
    covered = np.mean([i.low <= true <= i.high for i in named]) if named else math.nan
    return len(named) / times, float(covered)
