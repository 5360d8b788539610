"""What a reader in a hurry asks of forgetting, answered from the verdicts."""

import math
from collections.abc import Mapping, Sequence

from ntkgap.studies.figures import Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.verdict import Verdict

QUESTIONS = (
    "does width help: brief training?",
    "at the same training loss?",
    "trained to convergence?",
    "does the kernel foretell it?",
    "so: expect width to help?",
)

WORDS = {"holds": "yes", "fails": "no", "undecided": "undecided"}

# What readers need most comes first; "it" is the training of the first.
CONDITIONS = {
    "converged": "where training has converged",
    "short": "where it is brief",
    "matched": "at the same training loss",
}


def answers(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
    """One row a problem, one column a question; no table where nothing was judged."""
    by_problem: dict[str, dict[str, Verdict]] = {}
    for verdict in verdicts:
        by_problem.setdefault(verdict.problem, {})[verdict.claim.key] = verdict
    rows = tuple(
        (
            problem,
            *(_helps(found.get(f"width_helps_{when}")) for when in ("short", "matched", "converged")),
            _foretold(found),
            _advice(found),
        )
        for problem, found in by_problem.items()
        if problem in cells and "width_helps_short" in found
    )
    if not rows:
        return []
    caption = (
        "At the largest width tested, beside the narrowest that learns the tasks; medians over seeds, in points "
        "of accuracy. A kernel foretells where predicted and observed accuracies differ by less than 2 points in "
        "the mean."
    )
    return [Table("continual_answers", "Forgetting in five questions", caption, ("", *QUESTIONS), rows)]


def _helps(verdict: Verdict | None) -> str:
    if verdict is None or verdict.widths[-1].interval is None:
        return "Undecided." if verdict is None else f"Undecided: {verdict.widths[-1].reason}."
    interval = verdict.widths[-1].interval
    word = WORDS[verdict.state].capitalize()
    points, low, high = (round(100 * v, 1) + 0.0 for v in (interval.value, interval.low, interval.high))
    if points >= 0:
        return f"{word}: {points:g} points less forgotten [{low:g}, {high:g}]."
    return f"{word}: {-points:g} points more forgotten [{-high:g}, {-low:g}]."


def _foretold(found: Mapping[str, Verdict]) -> str:
    """Of the kernel at the start, after brief and after long training."""
    parts = []
    for when, word in (("short", "brief"), ("long", "long")):
        verdict = found.get(f"initial_foretells_{when}") or found.get(f"infinite_foretells_{when}")
        if verdict is None:
            return "Not asked."
        interval = verdict.widths[-1].interval
        if interval is None:
            parts.append(f"undecided after {word} training")
            continue
        start = f" (from width {verdict.holds_from})" if verdict.holds_from else ""
        parts.append(f"{WORDS[verdict.state]} after {word} training{start}: {100 * interval.value:.1f} points off")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _advice(found: Mapping[str, Verdict]) -> str:
    """One sentence of all three verdicts on width, those of the same answer together."""
    conditions: dict[str, list[str]] = {}
    for when, condition in CONDITIONS.items():
        key = f"width_helps_{when}"
        state = found[key].state if key in found else "undecided"
        conditions.setdefault(state, []).append(condition)
    if list(conditions) == ["undecided"]:
        return _undecided(found)
    text = "; ".join(f"{WORDS[state]} {_enumerated(of_state)}" for state, of_state in conditions.items())
    return text[0].upper() + text[1:] + "."


def _undecided(found: Mapping[str, Verdict]) -> str:
    """Within what width may save or cost, where that is known and readers need it most."""
    for when, condition in CONDITIONS.items():
        verdict = found.get(f"width_helps_{when}")
        interval = None if verdict is None else verdict.widths[-1].interval
        if interval is not None and math.isfinite(interval.low) and math.isfinite(interval.high):
            return f"Do not count on it: undecided, {_between(interval.low, interval.high)} {condition}."
    return "Undecided: see the reasons in this row."


def _between(low: float, high: float) -> str:
    """The ends of an interval of what is saved, in points."""
    low, high = (round(100 * v, 1) + 0.0 for v in (low, high))
    if low < 0 < high:
        return f"between {-low:g} points more and {high:g} less"
    return f"{low:g} to {high:g} points less" if low >= 0 else f"{-high:g} to {-low:g} points more"


def _enumerated(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)
