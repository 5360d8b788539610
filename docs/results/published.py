"""What a folder of published results says: its cells, and the verdicts on them."""

import math
import re
from pathlib import Path

from cells import Cells, PageError
from scipy.stats import false_discovery_control

from ntkgap.reporting.records import Point, Range, VerdictRecord, read_verdicts
from ntkgap.studies.discoveries import RATE
from ntkgap.studies.statistics import Interval, zero_crossings


class Published(Cells):
    """A folder with ``results.csv`` and ``verdicts.json``.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.verdicts = [r for r in read_verdicts(folder / "verdicts.json") if r.axis == "width"]

    def verdict(self, claim: str, problem: str) -> VerdictRecord:
        """The published verdict on a claim."""
        found = [v for v in self.verdicts if v.claim == claim and v.problem == problem]
        if len(found) != 1:
            raise PageError(f"{self.folder.name}/verdicts.json has {len(found)} verdicts on {claim} of {problem}")
        return found[0]

    def state(self, claim: str, problem: str, width: int | None = None) -> str:
        """``holds``, ``fails`` or ``inconclusive``: the verdict, or that at one width."""
        verdict = self.verdict(claim, problem)
        return str(verdict.state if width is None else self._at(verdict, width).state)

    def judged(self, claim: str, problem: str, width: int | None = None) -> Interval:
        """Median and interval that the verdict rests on; at the largest width if none is given."""
        point = self._at(self.verdict(claim, problem), width)
        value, low, high = (math.nan if n is None else n for n in (point.value, point.low, point.high))
        return Interval(value, low, high)

    def standing(self) -> int:
        """How many verdicts still hold or fail after control of false discoveries over all that were asked for."""
        adjusted = false_discovery_control([1.0 if v.p is None else v.p for v in self.verdicts])
        pairs = zip(self.verdicts, adjusted, strict=True)
        return sum(p <= RATE and v.state != "inconclusive" for v, p in pairs)

    def holds_from(self, claim: str, problem: str) -> int:
        """The width from which on a claim holds."""
        verdict = self.verdict(claim, problem)
        if verdict.holds_from is None:
            raise PageError(f"{claim} of {problem} holds from no width on: it is {verdict.status}")
        return verdict.holds_from

    def threshold(self, claim: str) -> float:
        """The limit of a claim."""
        return self._only({v.limit for v in self.verdicts if v.claim == claim}, f"limit of {claim}")

    def fitted(self, part: str, claim: str, problem: str) -> Interval:
        """What a verdict's power law says: ``fitted_exponent``, ``fitted_crossing`` or ``extrapolated``."""
        found: Range | None = getattr(self.verdict(claim, problem), part)
        if found is None:
            raise PageError(f"the verdict on {claim} of {problem} has no {part}")
        return Interval(found.value, found.low, found.high)

    def judged_confidence(self, claim: str, problem: str) -> float:
        """Confidence of the intervals of a verdict, as its sentence has it."""
        sentence = self.verdict(claim, problem).sentence
        if not (found := re.search(r"(\d+)% interval", sentence)):
            raise PageError(f"the verdict on {claim} of {problem} names no confidence")
        return int(found[1]) / 100

    def places(self, stem: str, problem: str) -> list[int]:
        """The numbers that end the names of the claims of a family, such as ``width_helps_after_10``."""
        names = [v.claim for v in self.verdicts if v.problem == problem]
        return sorted(int(n.removeprefix(stem)) for n in names if n.startswith(stem) and n[len(stem) :].isdigit())

    def where(self, stem: str, problem: str, state: str) -> list[int]:
        """The places of a family of claims at which the verdict is such."""
        return [place for place in self.places(stem, problem) if self.state(f"{stem}{place}", problem) == state]

    def medians(self, stem: str, problem: str, state: str) -> list[float]:
        """The medians of a family of claims at those places."""
        return [self.judged(f"{stem}{place}", problem).value for place in self.where(stem, problem, state)]

    def sign_change(self, stem: str, problem: str) -> Interval:
        """Where along the places of a family of claims the median goes through zero for the first time."""
        places = self.places(stem, problem)
        found = zero_crossings(places, [self.judged(f"{stem}{place}", problem) for place in places])
        if not found:
            raise PageError(f"{stem}… of {problem} has one sign at all of {places}")
        return found[0].at

    def _at(self, verdict: VerdictRecord, width: int | None) -> Point:
        points = {p.at: p for p in verdict.points}
        if width is None:
            return verdict.points[-1]
        if width not in points:
            raise PageError(f"{verdict.claim} of {verdict.problem} is judged at {sorted(points)}, not at {width}")
        return points[width]
