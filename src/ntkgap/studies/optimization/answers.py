"""The four questions that a reader in a hurry asks of a network, answered from the verdicts."""

from collections.abc import Sequence

from ntkgap.studies.figures import Table
from ntkgap.studies.verdict import Verdict, number

QUESTIONS = (
    "is the theorem's condition met?",
    "from which width would it be?",
    "does natural gradient keep its predicted rate anyway?",
    "does it pay in seconds?",
)


def answers(verdicts: Sequence[Verdict]) -> Table:
    """One row a problem, one column a question."""
    by_problem: dict[str, dict[str, Verdict]] = {}
    for verdict in verdicts:
        by_problem.setdefault(verdict.problem, {})[verdict.claim.key] = verdict
    return Table(
        key="answers",
        title="Four questions",
        caption="At the largest width tested; numbers are medians over seeds.",
        columns=("", *QUESTIONS),
        rows=tuple(
            (problem, *(answer(found) for answer in (_condition, _width, _rate, _seconds)))
            for problem, found in by_problem.items()
        ),
    )


def _condition(found: dict[str, Verdict]) -> str:
    """What is seen on the path and in the ball can refute the condition, never confirm it."""
    for key, where in (("jacobian_stable", "on the path"), ("jacobian_stable_in_ball", "in the ball")):
        verdict = found[key]
        if verdict.state == "fails":
            return f"No: C′ is {_at_largest(verdict)} {where}, the limit ½."
    path = found["jacobian_stable"]
    if path.state == "holds":
        return f"Not refuted: C′ is {_at_largest(path)} on the path."
    return f"Undecided: {path.widths[-1].reason}."


def _width(found: dict[str, Verdict]) -> str:
    """Of the path alone: the ball is not searched at every width."""
    path = found["jacobian_stable"]
    if path.state == "holds":
        return f"On the path from {path.holds_from}; the ball may want more."
    if path.extrapolated is not None:
        low, high = number(path.extrapolated.low), number(path.extrapolated.high)
        return f"On the path from about {number(path.extrapolated.value)} [{low}, {high}], extrapolated."
    if path.state == "undecided":
        return "Undecided."
    return "Far beyond the widths tested: out of reach of extrapolation."


def _rate(found: dict[str, Verdict]) -> str:
    rate = found["ngd_rate"]
    if rate.state == "undecided":
        return f"Undecided: {rate.widths[-1].reason}."
    error = f"its error is {_at_largest(rate)}"
    if rate.state == "fails":
        return f"No: {error} ({number(rate.claim.threshold)} allowed)."
    return f"Yes{'' if rate.holds_everywhere else f', from width {rate.holds_from}'}: {error}."


def _seconds(found: dict[str, Verdict]) -> str:
    """Both ratios at the widest networks that raced."""
    time = found.get("natural_gradient_seconds")
    if time is None:
        return "Not measured."
    last = time.widths[-1]
    if last.interval is None:
        return f"Undecided at width {last.width}: {last.reason}."
    words = {"holds": "Yes", "fails": "No", "undecided": "Undecided"}[last.state]
    steps = found["natural_gradient_steps"].widths[-1]
    in_steps = f" with {number(steps.interval.value)} times the steps" if steps.interval else ""
    return (
        f"{words}: it takes {number(last.interval.value)} times the seconds of the best first-order method"
        f"{in_steps} (width {last.width})."
    )


def _at_largest(verdict: Verdict) -> str:
    """Median and width at the largest width."""
    last = verdict.widths[-1]
    return f"{number(last.interval.value) if last.interval else 'undecidable'} at width {last.width}"
