"""What a reader in a hurry asks of ensembles, answered from the verdicts."""

from collections.abc import Sequence

from ntkgap.studies.figures import Table
from ntkgap.studies.verdict import Verdict, number, width_text

QUESTIONS = (
    "does the ensemble follow theory?",
    "from which width?",
    "do its intervals cover?",
    "is NTK uncertainty as good as an ensemble's?",
)


def answers(verdicts: Sequence[Verdict]) -> list[Table]:
    """One row a problem, one column a question; no table where no ensemble was judged."""
    by_problem: dict[str, dict[str, Verdict]] = {}
    for verdict in verdicts:
        by_problem.setdefault(verdict.problem, {})[verdict.claim.key] = verdict
    rows = tuple(
        (problem, *(answer(found) for answer in (_follows, _width, _covers, _as_good)))
        for problem, found in by_problem.items()
        if "ensemble_covariance" in found
    )
    if not rows:
        return []
    caption = (
        "At the largest width tested; medians over seeds. Where no bias is seen, what may hide in chance is given."
    )
    return [Table("ensemble_answers", "Ensembles in four questions", caption, ("", *QUESTIONS), rows)]


def _follows(found: dict[str, Verdict]) -> str:
    mean, covariance = found["ensemble_mean"], found["ensemble_covariance"]
    states = {mean.state, covariance.state}
    word = "No" if "fails" in states else "Undecided" if "undecided" in states else "Yes"
    return f"{word}: its mean is off by {_at_largest(mean)}, its covariance by {_at_largest(covariance)}."


def _width(found: dict[str, Verdict]) -> str:
    """That of the claim which asks for more."""
    both = (found["ensemble_mean"], found["ensemble_covariance"])
    if all(v.holds_from is not None for v in both):
        widest = max(both, key=lambda v: v.holds_from or 0)
        return f"From {widest.holds_from}{' or less' if widest.holds_everywhere else ''}."
    open_ones = [v for v in both if v.holds_from is None]
    if all(v.extrapolated is not None for v in open_ones):
        widths = [v.extrapolated for v in open_ones if v.extrapolated is not None]
        return f"From {width_text(max(widths, key=lambda w: w.value))}, extrapolated."
    if any(v.state == "fails" for v in open_ones):
        return f"More than {open_ones[0].widths[-1].width}."
    return "Undecided."


def _covers(found: dict[str, Verdict]) -> str:
    """Of those that are nominally 95 %."""
    return _yes_or_no(found["deep_ensemble_covers"], "{} of 95 % intervals cover; {} asked for")


def _as_good(found: dict[str, Verdict]) -> str:
    nll, crps = found["ntk_gp_nll"], found["ntk_gp_crps"]
    states = {nll.state, crps.state}
    word = "No" if "fails" in states else "Undecided" if "undecided" in states else "Yes"
    return (
        f"{word}: the NTK-GP's NLL is {_at_largest(nll)} nats more, its CRPS {_at_largest(crps)} times as large."
    )


def _yes_or_no(verdict: Verdict, words: str) -> str:
    word = {"holds": "Yes", "fails": "No", "undecided": "Undecided"}[verdict.state]
    return f"{word}: {words.format(_at_largest(verdict), number(verdict.claim.threshold))}."


def _at_largest(verdict: Verdict) -> str:
    """Median at the largest width, or that it is undecidable."""
    interval = verdict.widths[-1].interval
    return "an undecidable amount" if interval is None else number(interval.value)
