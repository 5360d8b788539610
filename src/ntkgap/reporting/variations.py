"""Claims along axes other than the width: what page and terminal show of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ntkgap.studies.axes import AxisVerdict, MeasuredAxis
from ntkgap.studies.variations import value_text

MAX_PANELS = 4


@dataclass(frozen=True)
class AxisSection:
    """What the page shows of one axis of one problem.

    Attributes:
        along: the axis and its cells.
        verdicts: of every claim, a row each.
        note: what theory says along the axis; may be empty.
    """

    along: MeasuredAxis
    verdicts: list[AxisVerdict]
    note: str

    @property
    def title(self) -> str:
        """Problem, axis and width."""
        return f"{self.along.problem}: {self.along.label}, at width {self.along.width}"

    @property
    def headings(self) -> list[str]:
        """The values; the problem's own is marked, and those that have fewer seeds than others."""
        seeds = {value: len({cell.seed for cell in cells}) for value, cells in self.along.points.items()}
        most = max(seeds.values())
        found = []
        for value, n in seeds.items():
            marks = ["as above"] if value == self.along.own else []
            if n < most:
                marks.append(f"{n} seed{'s' if n > 1 else ''}")
            found.append(value_text(value) + (f" ({', '.join(marks)})" if marks else ""))
        return found


def axis_sections(verdicts: Sequence[AxisVerdict], notes: Mapping[str, str]) -> list[AxisSection]:
    """Verdicts along axes, put together by problem and axis, in the order in which they come."""
    found: dict[tuple[str, str, int], AxisSection] = {}
    for verdict in verdicts:
        along = verdict.along
        key = along.problem, along.axis, along.width
        found.setdefault(key, AxisSection(along, [], notes.get(along.axis, ""))).verdicts.append(verdict)
    return list(found.values())


def axis_line(section: AxisSection) -> str:
    """How many claims hold at every value, in a line."""
    along = section.along
    counts = []
    for value in along.points:
        results = [v.results[value] for v in section.verdicts if value in v.results]
        held = sum(r.state == "holds" for r in results)
        counts.append(f"{held} of {len(results)} at {value_text(value)}")
    return f"over {along.label} at width {along.width}, claims that hold: {', '.join(counts)}"


def most_moved(verdicts: Sequence[AxisVerdict], n: int = MAX_PANELS) -> list[AxisVerdict]:
    """The n claims whose medians the axis moves by the largest factor, in the order of the claims.

    Claims without two finite positive medians cannot be compared and come last; of claims with the same medians
    one is enough.
    """

    def medians(verdict: AxisVerdict) -> tuple[float | None, ...]:
        return tuple(r.interval.value if r.interval else None for r in verdict.results.values())

    def moved(verdict: AxisVerdict) -> float:
        logs = [math.log(m) for m in medians(verdict) if m is not None and math.isfinite(m) and m > 0]
        return max(logs) - min(logs) if len(logs) > 1 else -1.0

    different = {medians(v): v for v in reversed(verdicts)}
    chosen = sorted(different.values(), key=moved, reverse=True)[:n]
    return [v for v in verdicts if v in chosen]
