"""Seeds a few at a time: decide early where the first ones agree, go on where they do not."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import scipy

from ntkgap.errors import StudyError
from ntkgap.studies.claim import Claim

# (seeds, k): a look at so many seeds decides for a side if fewer than k of them are not on it. With the median at
# the threshold, the probability of deciding for one side at any look is 2.1 %.
LOOKS = ((6, 1), (12, 2), (20, 5))

# Probability set aside for seeds beyond the look that decided; see ``p_value``.
RESERVED = 0.001

Schedule = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Looks:
    """How a store is filled a few seeds at a time.

    Attributes:
        schedule: (seeds, rank) of every look, in ascending order.
        seeds: in the order in which they are used; none other is.
    """

    schedule: tuple[tuple[int, int], ...]
    seeds: tuple[int, ...]

    @property
    def first(self) -> int:
        """How many seeds the first look takes: a number that no result has a say in."""
        return self.schedule[0][0]

    @property
    def sentence(self) -> str:
        """How it was done, for a reader."""
        *numbers, last = (str(n) for n, _ in self.schedule)
        error, _ = deciding_probability(0.5, self.schedule)
        looks = f"{', '.join(numbers)} and {last}" if numbers else last
        return (
            f"seeds were added where a verdict was open, with looks at {looks}; error {100 * error:.1f} % a side"
        )


@dataclass(frozen=True)
class Look:
    """What a look at some seeds says.

    Attributes:
        decision: ``"holds"`` or ``"fails"`` once enough seeds agree, ``"continue"`` while a look to come may
            decide, else ``"inconclusive"``.
        n_seeds: seeds after which it was decided, or that have been looked at so far.
        next_seeds: how many the next look needs in all; None if there is none, or none that could decide.
        p: two-sided probability; see ``p_value``.
    """

    decision: Literal["holds", "fails", "continue", "inconclusive"]
    n_seeds: int
    next_seeds: int | None
    p: float = 1.0


def look(claim: Claim, values: Sequence[float], looks: Schedule = LOOKS) -> Look:
    """Judge a claim at one width from the seeds seen so far, in the order in which they came.

    A look at n seeds with rank k decides for a side if at least n − k + 1 of the first n seeds are on it: the
    exact order-statistic interval of rank k is then on that side. Seeds between two looks are not used until the
    next one: to look after every seed would raise the error. Seeds that are at the threshold or inconclusive are
    on neither side. Where so many seeds are off both sides that no look to come can decide, it ends: that changes
    no decision.

    Args:
        claim: what is judged.
        values: one number a seed; NaN where inconclusive, infinite where diverged.
        looks: (seeds, rank), in ascending order.

    Raises:
        StudyError: if the looks are not in ascending order, or a rank is not from 1 to half of the seeds.
    """
    sides = [side_of(claim, value, value) for value in values]
    return decide_by([sides[:n] for n, _ in looks if n <= len(sides)], looks)


def side_of(claim: Claim, low: float, high: float) -> int:
    """The side of a seed's number that lies between two bounds; 0 where they differ or one is inconclusive."""
    if math.isnan(low) or math.isnan(high):
        return 0
    side = claim.side(low)
    return side if side == claim.side(high) else 0


def decide_by(sides: Sequence[Sequence[int]], looks: Schedule = LOOKS) -> Look:
    """What the looks so far say.

    Args:
        sides: of the seeds at every look that was reached, 1, −1 or 0. A later look may see an earlier seed on
            another side, where a seed's number depends on others.
        looks: (seeds, rank), in ascending order.

    Raises:
        StudyError: as of ``look``.
    """
    _check(looks)
    last = 0
    for i, (n, k) in enumerate(looks):
        if len(sides) <= i:
            return Look("continue", last, n)
        last = n
        for side, word in ((1, "holds"), (-1, "fails")):
            if (off := n - sides[i].count(side)) < k:
                later = [len(sides[j]) - sides[j].count(side) for j in range(i, min(len(sides), len(looks)))]
                return Look(word, n, None, p_value(n, [off, *later[1:]], looks))  # type: ignore[arg-type]
        off = n - max(sides[i].count(1), sides[i].count(-1))
        if not _may_be_decided(off, looks[i + 1 :]):
            break
    return Look("inconclusive", last, None)


def deciding_probability(p: float, looks: Schedule = LOOKS) -> tuple[float, float]:
    """How probable it is that the looks decide for a side, and the mean number of seeds, both exact.

    Args:
        p: probability of one seed to be on that side; no seed is at the threshold.
        looks: as of ``look``.

    Returns:
        The probability (with p = ½ the one-sided error), and the expected number of seeds, where the looks stop
        for either side, or because none to come can decide.
    """
    _check(looks)
    decided, expected, before = 0.0, 0.0, 0
    for n, k, reached in _paths(p, tuple(looks)):
        expected += (n - before) * sum(reached.values())
        decided += sum(weight for others, weight in reached.items() if others < k)
        before = n
    return decided, expected


def p_value(n_seeds: int, off: Sequence[int], looks: Schedule = LOOKS) -> float:
    r"""Two-sided probability of a decision, with what seeds beyond it say: other claims may have brought more.

    Of all looks but the first, J in number, the one that says most of the side, by a sign test times J, if that is
    a thousandth at most; else that of ``stagewise_p``, plus that thousandth:

    .. math:: q = \min_j\, 2 J\, P(\mathrm{Bin}(n_j, ½) \le o_j), \qquad
              p = \begin{cases} q & q \le c \\ p_{\text{stage}} + c & \text{else} \end{cases}, \quad c = 0.001

    P(p ≤ x) ≤ x with the median at the threshold, wherever the seeds end and whatever ends them: p ≤ x is a set of
    outcomes at fixed looks, and to stop before one takes some away and adds none. What is not decided has p = 1.

    Args:
        n_seeds: of the look that decided.
        off: seeds that are not on the side it decided for, at it and at every look after it so far.
        looks: as of ``look``.
    """
    at = [n for n, _ in looks].index(n_seeds)
    later = [(looks[at + i][0], o) for i, o in enumerate(off) if at + i > 0]
    q = min((2 * (len(looks) - 1) * float(scipy.stats.binom.cdf(o, n, 0.5)) for n, o in later), default=1.0)
    return q if q <= RESERVED else min(1.0, stagewise_p(n_seeds, off[0], looks) + RESERVED)


def stagewise_p(n_seeds: int, off: int, looks: Schedule = LOOKS) -> float:
    r"""Two-sided probability of a decision, by the order of the looks (Armitage 1957; Siegmund 1978).

    With the median at the threshold, the probability of a decision for either side at an earlier look, or at this
    one with no more seeds off its side:

    .. math:: p = 2\, \Bigl[\sum_{i<j} P(\text{decided for a side at look } i)
                    + P(\text{look } j \text{ is reached, at most } o \text{ seeds are off the side})\Bigr]

    It takes every value that it can take with just that probability.

    Args:
        n_seeds: of the look that decided.
        off: seeds that are not on the side that it decided for.
        looks: as of ``look``.
    """
    total = 0.0
    for n, k, reached in _paths(0.5, tuple(looks)):
        most = off if n == n_seeds else k - 1
        total += sum(weight for others, weight in reached.items() if others <= most)
        if n == n_seeds:
            break
    return min(1.0, 2 * total)


def deciding_chance(sides: Sequence[int], n: int, k: int) -> float:
    r"""How probable it is that a look to come decides, given the seeds so far.

    A side with h of the m seeds so far has a probability q of each new seed with Jeffreys' prior, so that q is
    distributed as Beta(h + ½, m − h + ½) and the new seeds off it as a beta-binomial:

    .. math:: \sum_{\text{sides}} P\bigl(\mathrm{BetaBin}(n - m,\; m - h + ½,\; h + ½) \le k - 1 - (m - h)\bigr)

    Args:
        sides: of the seeds so far, fewer than n.
        n: seeds of the look to come.
        k: its rank.
    """
    m = len(sides)
    hits = [sides.count(side) for side in (1, -1)]
    return sum(float(scipy.stats.betabinom.cdf(k - 1 - (m - h), n - m, m - h + 0.5, h + 0.5)) for h in hits)


def _may_be_decided(off: int, later: Schedule) -> bool:
    """Whether a look to come can decide for a side that so many seeds are off already."""
    return any(off < k for _, k in later)


@cache
def _paths(p: float, looks: tuple[tuple[int, int], ...]) -> list[tuple[int, int, dict[int, float]]]:
    """Of every look its seeds, its rank, and how probable it is reached with so many seeds on the other side."""
    return list(_walk(p, looks))


def _walk(p: float, looks: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int, dict[int, float]]]:
    open_paths, before = {0: 1.0}, 0
    for i, (n, k) in enumerate(looks):
        reached: dict[int, float] = {}
        for others, weight in open_paths.items():
            for more in range(n - before + 1):
                chance = weight * float(scipy.stats.binom.pmf(more, n - before, 1 - p))
                reached[others + more] = reached.get(others + more, 0.0) + chance
        yield n, k, reached
        open_paths = {
            others: weight
            for others, weight in reached.items()
            if k <= others <= n - k and _may_be_decided(min(others, n - others), looks[i + 1 :])
        }
        before = n


def _check(looks: Schedule) -> None:
    seeds = [n for n, _ in looks]
    if not looks or seeds != sorted({*seeds}) or any(not 1 <= k <= n // 2 for n, k in looks):
        raise StudyError(
            f"looks must be pairs (seeds, rank) with ascending seeds and ranks up to half, got {looks}"
        )
