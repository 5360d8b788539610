"""What all studies say in the same words: yes and no, medians, and verdicts by problem."""

import math
from collections.abc import Callable, Sequence
from typing import NoReturn

from ntkgap.studies.statistics import median_interval
from ntkgap.studies.verdict import State, Verdict, number

YES_OR_NO: dict[State, str] = {"holds": "Yes", "fails": "No", "inconclusive": "Inconclusive"}


def yes_if_all(verdicts: Sequence[Verdict]) -> str:
    """No if one fails, inconclusive if one is, else yes."""
    states = {verdict.state for verdict in verdicts}
    return YES_OR_NO["fails" if "fails" in states else "inconclusive" if "inconclusive" in states else "holds"]


class LeftOutError(KeyError):
    """A verdict that was not asked for: its claim is left out."""


class ByClaim(dict[str, Verdict]):
    """Verdicts on a problem by the key of their claim."""

    def __missing__(self, key: str) -> NoReturn:
        raise LeftOutError(key)


def by_problem(verdicts: Sequence[Verdict]) -> dict[str, ByClaim]:
    """Verdicts by the key of their claim, by problem."""
    found: dict[str, ByClaim] = {}
    for verdict in verdicts:
        found.setdefault(verdict.problem, ByClaim())[verdict.claim.key] = verdict
    return found


def answered(answer: Callable[[ByClaim], str], found: ByClaim) -> str:
    """An answer from verdicts, where none that it needs is left out."""
    try:
        return answer(found)
    except LeftOutError:
        return "Not asked."


def median_text(values: Sequence[float]) -> str:
    """Median of seeds with its interval; a dash where not every seed has a number."""
    if any(map(math.isnan, values)):
        return "–"
    interval = median_interval(list(values))
    value, low, high = map(number, (interval.value, interval.low, interval.high))
    return value if low == high else f"{value} [{low}, {high}]"
