"""Verdicts along an axis other than the width: at which values of a setting does a claim hold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ntkgap.axis_names import axis_label, axis_of
from ntkgap.one_line import one_line
from ntkgap.studies.assess import problem_settings, settings, study_of
from ntkgap.studies.claim import Claim
from ntkgap.studies.looked import looks_of
from ntkgap.studies.measured import Measured
from ntkgap.studies.variations import Value, is_numeric, value_text
from ntkgap.studies.verdict import State, WidthResult, judge_width, number
from ntkgap.sweep import Runs
from ntkgap.sweep.store import flatten


@dataclass(frozen=True)
class MeasuredAxis:
    """What was measured along one axis.

    Attributes:
        problem: on which network and data.
        axis: the setting that was varied, in dots.
        width: the width at which it was.
        own: the problem's own value.
        points: cells by value, in order: numbers ascending, other values as the study lists them.
    """

    problem: str
    axis: str
    width: int
    own: Value
    points: dict[Value, list[Measured]]

    __repr__ = one_line

    @property
    def label(self) -> str:
        """What a reader calls the setting."""
        return axis_label(self.axis)

    @property
    def numeric(self) -> bool:
        """Whether the values have an order of their own."""
        return is_numeric(list(self.points))


@dataclass(frozen=True)
class AxisVerdict:
    """A claim judged at every value of a setting, at a fixed width.

    Attributes:
        claim: what was judged.
        along: the axis.
        results: the result at every value that was measured, in the axis's order.
    """

    claim: Claim
    along: MeasuredAxis
    results: dict[Value, WidthResult]

    __repr__ = one_line

    @property
    def sentence(self) -> str:
        """Where the claim holds, where not, and where that is inconclusive, with the medians at both ends."""
        words: dict[State, str] = {
            "holds": "holds",
            "fails": self.claim.failure_word,
            "inconclusive": "inconclusive",
        }
        groups = {state: [v for v, r in self.results.items() if r.state == state] for state in words}
        present = {state: values for state, values in groups.items() if values}
        if len(present) == 1:
            (state,) = present
            where = f"{words[state]} at {_all_of(len(self.results))} tested"
        else:
            where = "; ".join(f"{words[state]} at {self._range(values)}" for state, values in present.items())
        return f"{where[0].upper()}{where[1:]}.{self._trend()}"

    def _range(self, values: list[Value]) -> str:
        """Some of the values in words: ``"α ≥ 10"`` if they are the upper end of the axis, else one by one."""
        tested, label = list(self.results), self.along.label
        if self.along.numeric and 1 < len(values) < len(tested):
            if values == tested[-len(values) :]:
                return f"{label} ≥ {value_text(values[0])}"
            if values == tested[: len(values)]:
                return f"{label} ≤ {value_text(values[-1])}"
        return f"{label} = {', '.join(map(value_text, values))}"

    def _trend(self) -> str:
        ends = [(v, r.interval.value) for v, r in self.results.items() if r.interval]
        if not self.along.numeric or len(ends) < 2:
            return ""
        (first, start), (last, end) = ends[0], ends[-1]
        medians = f"goes from {number(start)} at {value_text(first)} to {number(end)} at {value_text(last)}"
        if number(start) == number(end):
            medians = f"is {number(start)} at both ends"
        return f" The median {medians}; the limit is {number(self.claim.threshold)}."


def _all_of(n: int) -> str:
    return "the only value" if n == 1 else "both values" if n == 2 else f"all {n} values"


def assess_variations(runs: Runs) -> list[AxisVerdict]:
    """Judge every claim at every value of every axis that was varied besides the width.

    A claim that was judged at one of several values says nothing of the axis, and is left out.
    """
    claims = study_of(runs).judged_claims()
    verdicts = (judge_along(claim, along) for along in measured_axes(runs) for claim in claims)
    return [v for v in verdicts if len(v.results) > 1 or len(v.results) == len(v.along.points)]


def judge_along(claim: Claim, along: MeasuredAxis) -> AxisVerdict:
    """Judge a claim at every value of an axis at which its quantity was measured."""
    results = {}
    for value, cells in along.points.items():
        if asked := [c for c in cells if claim.quantity in {*c.scalars} - {*c.not_asked}]:
            seeds, bounds = [c.scalars[claim.quantity] for c in asked], [c.bounds(claim.quantity) for c in asked]
            results[value] = judge_width(claim, along.width, seeds, bounds)
    return AxisVerdict(claim, along, results)


def measured_axes(runs: Runs) -> list[MeasuredAxis]:
    """What the cells that are done have measured along axes other than the width.

    A varied cell belongs to a problem if they differ in nothing but the axis, the width and the seed; where a
    store holds the problem with several settings, it may be a point of more than one.
    """
    study = study_of(runs)
    # Where looks decide how many seeds a width has, axes are judged by those that were asked for.
    looks = looks_of(runs)
    fixed = [s for s in runs.cells if looks is None or s.cell["seed"] in study.seeds]
    listed = {p.name: p.variations.axes if p.variations else {} for p in study.problems}
    done = study.complete([Measured.of(stored) for stored in fixed if stored.state == "done"])
    varied = [(axis_of(cell.cell), cell) for cell in done if axis_of(cell.cell)]
    found = []
    for problem, base in problem_settings(runs).items():
        own = [cell for cell in done if not axis_of(cell.cell) and settings(cell.cell) == base]
        here = [(axis, cell) for axis, cell in varied if _differ_only_in(axis, cell, base)]
        axes = listed.get(base["problem"], {})
        places = {(axis, cell.width) for axis, cell in here}
        for axis, width in sorted(places, key=lambda p: (_position(list(axes), p[0]), p)):
            points: dict[Value, list[Measured]] = {}
            for cell in (*own, *(cell for a, cell in here if a == axis)):
                if cell.width != width:
                    continue
                at_value = points.setdefault(flatten(cell.cell)[axis], [])
                # A store may hold one measurement twice, as a problem's own and as a varied one.
                if cell.seed not in {c.seed for c in at_value}:
                    at_value.append(cell)
            order = _in_order(list(points), base[axis], axes.get(axis, []))
            found.append(MeasuredAxis(problem, axis, width, base[axis], {v: points[v] for v in order}))
    return found


def _differ_only_in(axis: str, cell: Measured, base: dict[str, Value]) -> bool:
    return axis in base and {**settings(cell.cell), axis: None} == {**base, axis: None}


def _in_order(values: Sequence[Value], own: Value, listed: Sequence[Value]) -> list[Value]:
    """Numbers ascending; other values as they are listed, the problem's own first if it is not among them."""
    if is_numeric(list(values)):
        return sorted(values)  # type: ignore[type-var]
    order = list(listed) if own in listed else [own, *listed]
    return sorted(values, key=lambda v: (_position(order, v), str(v)))


def _position(order: Sequence[Value], value: Value) -> float:
    """Place in a list; behind all of it for what is not there, as from an earlier run."""
    return order.index(value) if value in order else math.inf
