"""What a reader in a hurry asks of forgetting, answered from the verdicts."""

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
        "At the largest width tested, beside the narrowest; medians over seeds, in points of accuracy. A kernel "
        "foretells where predicted and observed accuracies differ by less than 2 points in the mean."
    )
    return [Table("continual_answers", "Forgetting in five questions", caption, ("", *QUESTIONS), rows)]


def _helps(verdict: Verdict | None) -> str:
    if verdict is None or verdict.widths[-1].interval is None:
        return "Undecided." if verdict is None else f"Undecided: {verdict.widths[-1].reason}."
    interval = verdict.widths[-1].interval
    word = {"holds": "Yes", "fails": "No", "undecided": "Undecided"}[verdict.state]
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
        word_of_state = {"holds": "yes", "fails": "no", "undecided": "undecided"}[verdict.state]
        start = f" (from width {verdict.holds_from})" if verdict.holds_from else ""
        parts.append(f"{word_of_state} after {word} training{start}: {100 * interval.value:.1f} points off")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _advice(found: Mapping[str, Verdict]) -> str:
    """One sentence."""
    short, matched, long = (
        found[key].state if key in found else "undecided"
        for key in ("width_helps_short", "width_helps_matched", "width_helps_converged")
    )
    if long == "holds":
        if short == "fails":
            return "Where every task is trained to convergence, yes; not where training is brief."
        return (
            "Yes, also when every task is trained to convergence."
            if short == "holds"
            else ("Yes, when every task is trained to convergence.")
        )
    if long == "fails" and short == "holds":
        return "Only if tasks are trained briefly" + (
            "; at the same training loss width does not help." if matched == "fails" else "."
        )
    if long == "fails" and short == "fails":
        return "No, neither briefly trained nor to convergence."
    if long == "fails":
        return "Not when every task is trained to convergence."
    if matched == "holds":
        return "At the same training loss, yes; convergence is undecided."
    if matched == "fails":
        return "Not at the same training loss; convergence is undecided."
    if short == "holds":
        return "If tasks are trained briefly, yes; the rest is undecided."
    if short == "fails":
        return "Not if tasks are trained briefly; the rest is undecided."
    return "Undecided: see the reasons in this row."
