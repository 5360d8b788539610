"""Seeds a few at a time: decide early where the first ones agree, go on where they do not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import scipy

from ntkgap.errors import StudyError
from ntkgap.studies.claim import Claim

# (seeds, k): a look at so many seeds decides for a side if fewer than k of them are not on it. With the median at
# the threshold, the probability of deciding for one side at any look is 2.1 %.
LOOKS = ((6, 1), (12, 2), (20, 5))


@dataclass(frozen=True)
class Look:
    """What a look at some seeds says.

    Attributes:
        decision: ``"holds"`` or ``"fails"`` once enough seeds agree, ``"continue"`` while more are to come, else
            ``"undecided"``.
        n_seeds: seeds after which it was decided, or that have been looked at so far.
        next_seeds: how many the next look needs in all; None if there is none.
    """

    decision: Literal["holds", "fails", "continue", "undecided"]
    n_seeds: int
    next_seeds: int | None


def look(claim: Claim, values: Sequence[float], looks: Sequence[tuple[int, int]] = LOOKS) -> Look:
    """Judge a claim at one width from the seeds seen so far, in the order in which they came.

    A look at n seeds with rank k decides for a side if at least n − k + 1 of the first n seeds are on it: the
    exact order-statistic interval of rank k is then on that side. Seeds between two looks are not used until the
    next one: to look after every seed would raise the error. Seeds that are at the threshold or undecidable are on
    neither side.

    Args:
        claim: what is judged.
        values: one number a seed; NaN where undecidable, infinite where diverged.
        looks: (seeds, rank), in ascending order.

    Raises:
        StudyError: if the looks are not in ascending order, or a rank is not from 1 to half of the seeds.
    """
    _check(looks)
    sides = [0 if math.isnan(value) else claim.side(value) for value in values]
    last = 0
    for n, k in looks:
        if len(sides) < n:
            return Look("continue", last, n)
        last = n
        if sides[:n].count(1) > n - k:
            return Look("holds", n, None)
        if sides[:n].count(-1) > n - k:
            return Look("fails", n, None)
    return Look("undecided", last, None)


def deciding_probability(p: float, looks: Sequence[tuple[int, int]] = LOOKS) -> tuple[float, float]:
    """How probable it is that the looks decide for a side, and the mean number of seeds, both exact.

    Args:
        p: probability of one seed to be on that side; no seed is at the threshold.
        looks: as of ``look``.

    Returns:
        The probability (with p = ½ the one-sided error), and the expected number of seeds, where the looks stop
        for either side.
    """
    _check(looks)
    open_paths = {0: 1.0}  # seeds on the other side so far: probability
    decided, expected, before = 0.0, 0.0, 0
    for n, k in looks:
        expected += (n - before) * sum(open_paths.values())
        step = n - before
        reached: dict[int, float] = {}
        for others, weight in open_paths.items():
            for more in range(step + 1):
                chance = weight * float(scipy.stats.binom.pmf(more, step, 1 - p))
                reached[others + more] = reached.get(others + more, 0.0) + chance
        decided += sum(weight for others, weight in reached.items() if others < k)
        open_paths = {others: weight for others, weight in reached.items() if k <= others <= n - k}
        before = n
    return decided, expected


def _check(looks: Sequence[tuple[int, int]]) -> None:
    seeds = [n for n, _ in looks]
    if not looks or seeds != sorted({*seeds}) or any(not 1 <= k <= n // 2 for n, k in looks):
        raise StudyError(
            f"looks must be pairs (seeds, rank) with ascending seeds and ranks up to half, got {looks}"
        )
