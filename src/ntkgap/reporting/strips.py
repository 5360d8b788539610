"""The first picture of the page: questions by networks, and over which widths the answer is yes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from ntkgap.reporting.marks import UNMET, mark, width_mark
from ntkgap.reporting.summary import Scorecard
from ntkgap.studies.base import BaseStudy
from ntkgap.studies.claim import Claim
from ntkgap.studies.statistics import Interval
from ntkgap.studies.verdict import State, Verdict, number

# Of a study that names no headlines.
MAX_ROWS = 5
# More networks than these have numbers for names above the picture.
MAX_NAMED = 4
# An extrapolated width further out than so many times the largest tested is drawn at the edge.
FURTHEST = 2.0
LEFT, RIGHT = 3.0, 97.0


@dataclass(frozen=True)
class WidthAxis:
    """A logarithmic axis of widths, the same for all pictures of a page.

    Attributes:
        low: width at its left end.
        high: at its right end.
    """

    low: float
    high: float

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> Self:
        """An axis with room for all widths tested and, within reason, for those at which claims would hold."""
        tested = [float(r.width) for v in verdicts for r in v.widths]
        beyond = [v.extrapolated.value for v in verdicts if v.extrapolated is not None]
        furthest = max(tested) * FURTHEST
        return cls(min(tested), max([max(tested), *(min(b, furthest) for b in beyond)]))

    def place(self, width: float) -> float:
        """In percent of the picture's width."""
        if self.high <= self.low:
            return (LEFT + RIGHT) / 2
        part = math.log(max(width, self.low) / self.low) / math.log(self.high / self.low)
        return round(LEFT + (RIGHT - LEFT) * min(part, 1.0), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and names of powers of ten, every second one where there are many."""
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        powers = range(first, last + 1, 1 if last - first < 2 else 2)
        return [(self.place(10.0**p), f"{10**p}" if p < 4 else "10" + _raised(p)) for p in powers]


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


@dataclass(frozen=True)
class Segment:
    """Part of the axis around one width that was tested.

    Attributes:
        start: in percent.
        end: in percent.
        style: the look of the verdict there.
        text: width, verdict and interval.
    """

    start: float
    end: float
    style: str
    text: str


@dataclass(frozen=True)
class Crossing:
    """The width at which the limit is met, with its interval, in percent.

    Attributes:
        at: its place.
        low: of the lower end.
        high: of the upper end.
        beyond: whether it lies right of the axis.
        text: the same as numbers.
    """

    at: float
    low: float
    high: float
    beyond: bool
    text: str


@dataclass(frozen=True)
class Answer:
    """One cell: a question answered for one network.

    Attributes:
        claim: what was judged.
        style: the look of the verdict.
        word: the answer in one or two words.
        sentence: the verdict in full.
        segments: over width.
        crossing: where the limit is met; None where that is not within the picture or not known.
    """

    claim: Claim
    style: str
    word: str
    sentence: str
    segments: list[Segment]
    crossing: Crossing | None

    @classmethod
    def of(cls, verdict: Verdict, axis: WidthAxis) -> Self:
        """The answer that a verdict gives."""
        look = mark(verdict).style
        words = {
            "holds": "yes",
            "partly": f"from {verdict.holds_from}",
            "inconclusive": "inconclusive",
            "unmet": "not met",
        }
        word = words.get(look, "no")
        if len(verdict.widths) == 1 and axis.low < axis.high and look != "inconclusive":  # which is long enough
            word += f" at {verdict.widths[0].width}"
        return cls(verdict.claim, look, word, verdict.sentence, _segments(verdict, axis), _crossing(verdict, axis))


def _segments(verdict: Verdict, axis: WidthAxis) -> list[Segment]:
    """Each width reaches half-way to its neighbors."""
    widths = [float(r.width) for r in verdict.widths]
    middles = [math.sqrt(a * b) for a, b in pairwise(widths)]
    ends = [axis.place(middle) for middle in middles]
    starts, stops = [axis.place(widths[0]) - 2, *ends], [*ends, axis.place(widths[-1]) + 2]
    found = []
    for start, stop, result in zip(starts, stops, verdict.widths, strict=True):
        look = width_mark(verdict, result).style
        word = {"holds": "yes", "inconclusive": "inconclusive"}.get(look, "no")
        i = result.interval
        numbers = "" if i is None else f", {number(i.value)} [{number(i.low)}, {number(i.high)}]"
        found.append(Segment(start, stop, look, f"width {result.width}: {word}{numbers}"))
    return found


def _crossing(verdict: Verdict, axis: WidthAxis) -> Crossing | None:
    """The extrapolated width, or that at which the fitted law meets the limit among those tested."""
    found: Interval | None = verdict.extrapolated
    if found is None and verdict.crossing is not None and not verdict.holds_everywhere:
        inside = verdict.widths[0].width <= verdict.crossing.value <= verdict.widths[-1].width
        found = verdict.crossing if inside else None
    if found is None or not math.isfinite(found.value):
        return None
    text = f"limit met at width {number(found.value)} [{number(found.low)}, {number(found.high)}]"
    places = (axis.place(w) if math.isfinite(w) else RIGHT for w in (found.value, found.low, found.high))
    at, low, high = places
    return Crossing(at, low, high, found.value > axis.high, text)


@dataclass(frozen=True)
class Row:
    """One question, answered for every network of the study.

    Attributes:
        question: in plain words.
        answers: one for each network; None where it was not asked.
    """

    question: str
    answers: list[Answer | None]


@dataclass(frozen=True)
class Strip:
    """The picture of one study.

    Attributes:
        study: its name.
        promise: what theory promises, in a sentence; may be empty.
        finding: outcomes, each with the statements of which it is true.
        problems: names of the networks, with the smallest and the largest width of each.
        rows: the questions that matter most.
        others: the other questions.
        axis: of all pictures of the page.
        columns: how many columns there is room for, so that pictures of several studies stand below each other.
    """

    study: str
    promise: str
    finding: list[tuple[str, str]]
    problems: list[tuple[str, int, int]]
    rows: list[Row]
    others: list[Row]
    axis: WidthAxis
    columns: int

    @property
    def named(self) -> bool:
        """Whether there is room for the names of the networks above their columns."""
        return len(self.problems) <= MAX_NAMED

    @classmethod
    def of(cls, study: BaseStudy, card: Scorecard, axis: WidthAxis, columns: int) -> Self:
        """The picture of a study's verdicts."""
        groups: dict[str, list[Claim]] = {}
        for claim in card.claims:
            groups.setdefault(claim.question, []).append(claim)
        chosen = [q for q, claims in groups.items() if any(c.headline for c in claims)] or [*groups][:MAX_ROWS]
        rows = {q: Row(q, [_answer(card, claims, p, axis) for p in card.problems]) for q, claims in groups.items()}
        return cls(
            study.name,
            study.promise,
            finding(card, [groups[q] for q in chosen]),
            [(problem, *card.widths(problem)) for problem in card.problems],
            [rows[q] for q in chosen],
            [row for q, row in rows.items() if q not in chosen],
            axis,
            max(columns, len(card.problems)) if columns <= MAX_NAMED else len(card.problems),
        )


def _verdict(card: Scorecard, claims: Sequence[Claim], problem: str) -> Verdict | None:
    """The verdict on the first of these claims that was judged on a problem."""
    return next((v for c in claims if (v := card.cells.get((c.key, problem))) is not None), None)


def _answer(card: Scorecard, claims: Sequence[Claim], problem: str, axis: WidthAxis) -> Answer | None:
    verdict = _verdict(card, claims, problem)
    return None if verdict is None else Answer.of(verdict, axis)


def finding(card: Scorecard, groups: Sequence[Sequence[Claim]]) -> list[tuple[str, str]]:
    """What was found at the largest width judged: outcomes, each with the headlines of which it is true.

    Args:
        card: the verdicts.
        groups: claims that ask the same question.
    """
    found: dict[str, list[str]] = {}
    for claims in groups:
        states = [v.state for p in card.problems if (v := _verdict(card, claims, p)) is not None]
        found.setdefault(_outcome(states, claims[0].kind in UNMET), []).append(
            claims[0].headline or claims[0].title
        )
    return [(outcome, ", ".join(texts)) for outcome, texts in found.items()]


def _outcome(states: Sequence[State], condition: bool) -> str:
    """What became of a claim on several networks; a condition is met or not, and refutes nothing."""
    n, held, failed = len(states), states.count("holds"), states.count("fails")
    if not held and not failed:
        return "Inconclusive"
    yes, no = ("Met", "Not met") if condition else ("Confirmed", "Refuted")
    word, count = (yes, held) if held else (no, failed)
    return word if count == n else f"{word} on {count} of {n}"
