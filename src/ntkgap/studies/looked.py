"""What the looks at a store say: every claim at every width, judged from the seeds that each look may use."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ntkgap.studies.claim import Claim
from ntkgap.studies.looks import Look, Looks, decide_by, side_of
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import Interval, order_statistic_interval
from ntkgap.studies.verdict import WidthResult, judge_width
from ntkgap.sweep import Runs

Numbers = dict[int, tuple[float, float, float]]
"""A seed's number and between what it lies, by seed."""

UNKNOWN = (math.nan, math.nan, math.nan)


class Completing(Protocol):
    """A study, as far as it matters here."""

    def judged_claims(self) -> list[Claim]: ...  # noqa: D102

    def complete(self, cells: Sequence[Measured]) -> list[Measured]: ...  # noqa: D102


@dataclass(frozen=True)
class Looked:
    """A claim at one width, as the looks so far see it.

    Attributes:
        claim: which.
        result: what a reader is told.
        found: what the looks say.
        sides: of the seeds of the last look, or of those that are done before the first.
    """

    claim: Claim
    result: WidthResult
    found: Look
    sides: list[int]


def looks_of(runs: Runs) -> Looks | None:
    """How a store was filled; None if all its seeds were planned at once."""
    if runs.looks is None:
        return None
    return Looks(tuple((n, k) for n, k in runs.looks["schedule"]), tuple(runs.looks["seeds"]))


def looked_at(
    study: Completing, cells: Sequence[Measured], failed: Collection[tuple[int, int]], looks: Looks
) -> dict[tuple[str, int], Looked]:
    """Judge all claims on one problem, at every width at which one was measured.

    Every look sees the first seeds alone, also where a number depends on other seeds, so that what an earlier look
    has decided stays decided. A look waits for its seeds; those that failed are inconclusive.

    Args:
        study: whose claims.
        cells: of the problem, as they were measured.
        failed: width and seed of cells that failed.
        looks: schedule and seeds.

    Returns:
        By key of the claim and width, widths ascending.
    """
    seen: dict[tuple[str, int], list[Numbers]] = {}
    for i, (n, _) in enumerate(looks.schedule):
        seeds = looks.seeds[:n]
        completed = study.complete([cell for cell in cells if cell.seed in seeds])
        for claim in study.judged_claims():
            for width, numbers in _numbers(claim, completed).items():
                numbers |= {seed: UNKNOWN for w, seed in failed if w == width and seed in seeds}
                before = seen.setdefault((claim.key, width), [])
                if i == 0 or (len(before) == i and len(numbers) == n):
                    before.append({seed: numbers[seed] for seed in seeds if seed in numbers})
    claims = {claim.key: claim for claim in study.judged_claims()}
    judged = {at: _judged(claims[at[0]], at[1], numbers, looks) for at, numbers in seen.items() if numbers}
    return dict(sorted(judged.items(), key=lambda item: item[0]))


def _numbers(claim: Claim, cells: Sequence[Measured]) -> dict[int, Numbers]:
    found: dict[int, Numbers] = {}
    for cell in cells:
        if claim.quantity in cell.scalars and claim.quantity not in cell.not_asked:
            numbers = (cell.scalars[claim.quantity], *cell.bounds(claim.quantity))
            found.setdefault(cell.width, {})[cell.seed] = numbers
    return found


def _judged(claim: Claim, width: int, seen: Sequence[Numbers], looks: Looks) -> Looked:
    sides = [[side_of(claim, low, high) for _, low, high in numbers.values()] for numbers in seen]
    reached = sides if len(sides[0]) == looks.first else []
    found = decide_by(reached, looks.schedule)
    if not found.n_seeds:
        there = [value for value, _, _ in seen[0].values()]
        bounds = [(low, high) for _, low, high in seen[0].values()]
        reason = f"there is no look at {len(there)} seeds; the first is at {looks.first}"
        result = replace(judge_width(claim, width, there, bounds), state="inconclusive", reason=reason)
        return Looked(claim, replace(result, next_seeds=found.next_seeds), found, sides[0])
    i = [n for n, _ in looks.schedule].index(found.n_seeds)
    n, k = looks.schedule[i]
    values, lows, highs = zip(*seen[i].values(), strict=True)
    unknown = sum(map(math.isnan, values))
    ends = [order_statistic_interval(numbers, k) for numbers in (lows, highs)]
    interval = Interval(order_statistic_interval(values, k).value, ends[0].low, ends[1].high)
    reason = {
        "continue": f"fewer than {n - k + 1} of {n} seeds are on one side; the next look is at {found.next_seeds}",
        "inconclusive": f"fewer than {n - k + 1} of {n} seeds are on one side, and no look to come can decide",
    }.get(found.decision, "")
    if unknown and reason:
        reason += f"; {unknown} of {n} seeds: {claim.inconclusive}"
    result = WidthResult(
        width,
        found.decision if found.decision in ("holds", "fails") else "inconclusive",
        None if math.isnan(interval.value) or (unknown and interval.low == -math.inf) else interval,
        n,
        reason,
        unknown,
        looks,
        found.next_seeds,
    )
    return Looked(claim, result, found, sides[i])


def judged_widths(looked: Mapping[tuple[str, int], Looked], claim: Claim) -> list[Looked]:
    """Those of one claim, as they are ordered."""
    return [one for (key, _), one in looked.items() if key == claim.key]
