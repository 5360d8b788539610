"""The trend of a quantity over width: one slope a seed, then a test over seeds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from ntkgap.studies.statistics import CONFIDENCE, ROUNDING, Interval, student_interval

MIN_SEEDS = 3


@dataclass(frozen=True)
class Replicates:
    """What every seed has at every one of some widths.

    Attributes:
        widths: ascending.
        values: [seeds, widths], finite; positive where logarithms are asked for.
    """

    widths: NDArray[np.float64]
    values: NDArray[np.float64]


def replicates(values: Mapping[int, Mapping[int, float]], log_scale: bool) -> Replicates:
    """The widths at which every seed has a number, and the seeds that are at all of them.

    A seed that diverged or could not be decided at a width takes that width from all seeds: to leave out the seed
    alone would select the seeds by what is measured.

    Args:
        values: ``{width: {seed: value}}``.
        log_scale: whether a number must have a logarithm.
    """

    def usable(value: float) -> bool:
        return math.isfinite(value) and (value > 0 or not log_scale)

    widths = [w for w in sorted(values) if values[w] and all(map(usable, values[w].values()))]
    seeds = sorted(set.intersection(*({*values[w]} for w in widths))) if widths else []
    table = np.array([[values[w][s] for w in widths] for s in seeds], dtype=float)
    return Replicates(np.array(widths, dtype=float), table.reshape(len(seeds), len(widths)))


@dataclass(frozen=True)
class Trend:
    """How a quantity changes with width.

    Attributes:
        slope: mean over seeds with Student-t interval. In logarithms the exponent of the width; otherwise the
            change a decade of width.
        p: two-sided probability of a slope as far from zero without a trend.
        log_scale: which of the two the slope is.
        n_seeds: number of seeds.
        widths: smallest and largest width used.
    """

    slope: Interval
    p: float
    log_scale: bool
    n_seeds: int
    widths: tuple[int, int]

    @property
    def direction(self) -> Literal["falls", "rises", "no clear trend"]:
        """Which way it goes, where the interval leaves no doubt."""
        if self.slope.high < 0:
            return "falls"
        return "rises" if self.slope.low > 0 else "no clear trend"

    @property
    def per_doubling(self) -> float:
        """The factor by which a doubled width changes the quantity; in linear scale the change."""
        return 2**self.slope.value if self.log_scale else self.slope.value * math.log10(2)

    @property
    def text(self) -> str:
        """The trend in a few words: direction, slope, interval, p."""
        i, p = self.slope, "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
        if self.log_scale:
            return f"{self.direction}, ∝ width^{i.value:z.2f} [{i.low:z.2f}, {i.high:z.2f}], {p}"
        return f"{self.direction}, {i.value:z.2g} [{i.low:z.2g}, {i.high:z.2g}] a decade of width, {p}"


def find_trend(values: Mapping[int, Mapping[int, float]], log_scale: bool) -> Trend | None:
    r"""Least-squares slope over log width for every seed, and Student's t over seeds.

    .. math:: b_s = \frac{\sum_w (x_w - \bar x)\, y_{sw}}{\sum_w (x_w - \bar x)^2}, \qquad
              t = \frac{\bar b}{\operatorname{sd}(b)/\sqrt{n}}

    Every seed is a replicate of the whole sweep, so noise that its widths share leaves the slope alone. All widths
    enter at once: one test instead of one a width. A slope is a contrast of widths, so that skewed noise largely
    cancels, which keeps t at its size (benchmarks/coverage.py); a signed-rank test cannot reach 5 % with five
    seeds.

    Args:
        values: ``{width: {seed: value}}``; see ``replicates`` for what is used.
        log_scale: whether the logarithm of the quantity is taken.

    Returns:
        The trend; None with fewer than three seeds or two widths.
    """
    found = replicates(values, log_scale)
    n_seeds, n_widths = found.values.shape
    if n_seeds < MIN_SEEDS or n_widths < 2:
        return None
    x, y = (np.log(found.widths), np.log(found.values)) if log_scale else (np.log10(found.widths), found.values)
    slopes = (y @ (x - x.mean())) / np.sum((x - x.mean()) ** 2)
    rounding = ROUNDING * (1.0 if log_scale else float(np.abs(y).max()))
    i = student_interval(slopes.tolist(), CONFIDENCE)
    slope = Interval(i.value, i.low - rounding, i.high + rounding)
    distance, error = max(abs(i.value) - rounding, 0.0), float(scipy.stats.sem(slopes))
    if error == 0:
        p = 0.0 if distance > 0 else 1.0
    else:
        p = 2 * float(scipy.stats.t.sf(distance / error, n_seeds - 1))
    return Trend(slope, p, log_scale, n_seeds, (int(found.widths[0]), int(found.widths[-1])))
