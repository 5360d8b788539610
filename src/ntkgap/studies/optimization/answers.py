"""The four questions that a reader in a hurry asks of a network, answered from the verdicts."""

import math
from collections.abc import Sequence

from ntkgap.studies.figures import Table
from ntkgap.studies.verdict import Verdict, WidthResult, number, width_text
from ntkgap.studies.words import YES_OR_NO, ByClaim, answered, by_problem

QUESTIONS = (
    "is the theorem's condition met?",
    "from which width would it be?",
    "does natural gradient keep its predicted rate anyway?",
    "does it need less time?",
)


def answers(verdicts: Sequence[Verdict]) -> Table:
    """One row a problem, one column a question."""
    return Table(
        key="answers",
        title="Four questions",
        caption="At the largest width tested, for seconds the largest at which optimizers were compared; numbers "
        "are medians over seeds. Seconds: one thread, first-order methods in float32, natural gradient in "
        "float64, tuning not counted.",
        columns=("", *QUESTIONS),
        rows=tuple(
            (problem, *(answered(answer, found) for answer in (_condition, _width, _rate, _seconds)))
            for problem, found in by_problem(verdicts).items()
        ),
    )


def _condition(found: ByClaim) -> str:
    """What is seen on the path and in the ball can refute the condition, never confirm it."""
    for key, where in (("jacobian_stable", "on the path"), ("jacobian_stable_in_ball", "in the ball")):
        verdict = found.get(key)
        if verdict is not None and verdict.state == "fails":
            return f"No: C′ is at least {_at_largest(verdict)} {where}, the limit ½."
    path = found["jacobian_stable"]
    if path.state == "holds":
        return f"Not refuted: C′ is {_at_largest(path)} on the path."
    return f"Inconclusive: {path.widths[-1].reason}."


def _width(found: ByClaim) -> str:
    """Of the path alone: the ball is not searched at every width."""
    path = found["jacobian_stable"]
    if path.state == "holds":
        or_less = " or less" if path.holds_everywhere else ""
        return f"On the path from {path.holds_from}{or_less}; the ball may want more."
    if path.extrapolated is not None:
        return f"On the path from {width_text(path.extrapolated)}, extrapolated; the ball may want more."
    if path.state == "inconclusive":
        return "Inconclusive."
    return f"More than {path.widths[-1].width}; how much more cannot be told from these widths: {path.obstacle}."


def _rate(found: ByClaim) -> str:
    rate = found["ngd_rate"]
    if rate.state == "inconclusive":
        return f"Inconclusive: {rate.widths[-1].reason}."
    error = f"its error is {_at_largest(rate)}"
    if rate.state == "fails":
        return f"No: {error} ({number(rate.claim.threshold)} allowed)."
    return f"Yes{'' if rate.holds_everywhere else f', from width {rate.holds_from}'}: {error}."


def _seconds(found: ByClaim) -> str:
    """Both ratios at the widest networks whose optimizers were compared."""
    time = found.get("natural_gradient_seconds")
    if time is None:
        return "Not measured: natural gradient and first-order methods were not compared."
    last = time.widths[-1]
    if last.interval is None:
        return f"Inconclusive at width {last.width}: {last.reason}."
    if last.interval.value == 0:
        return f"Yes: no first-order method reached the target (width {last.width})."
    if math.isinf(last.interval.value):
        return f"No: natural gradient did not reach the target (width {last.width})."
    word = YES_OR_NO[last.state]
    steps = found["natural_gradient_steps"].widths[-1]
    in_steps = f" with {_times(steps)} the steps" if steps.interval else ""
    return (
        f"{word}: it takes {_times(last)} the seconds of the best first-order method{in_steps} "
        f"(width {last.width})."
    )


def _times(result: WidthResult) -> str:
    """A ratio, or a bound of it: what a budget took stands for a side that did not reach the target."""
    bound = {"holds": "at most ", "fails": "at least ", "inconclusive": "about "}[result.state]
    return f"{bound}{number(result.interval.value if result.interval else math.nan)} times"


def _at_largest(verdict: Verdict) -> str:
    """Median and width at the largest width."""
    last = verdict.widths[-1]
    return f"{number(last.interval.value) if last.interval else 'inconclusive'} at width {last.width}"
