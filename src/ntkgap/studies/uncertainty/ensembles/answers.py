"""What a reader in a hurry asks of ensembles, answered from the verdicts."""

from collections.abc import Mapping, Sequence
from functools import partial

from ntkgap.studies.figures import Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import median_interval
from ntkgap.studies.verdict import Verdict, number, width_text
from ntkgap.studies.words import YES_OR_NO, ByClaim, answered, by_problem, yes_if_all

QUESTIONS = (
    "does the ensemble follow theory?",
    "from which width?",
    "do its intervals cover?",
    "is NTK uncertainty as good as an ensemble's?",
)


def answers(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
    """One row a problem, one column a question; no table where no ensemble was judged.

    Args:
        cells: those that are done, by problem.
        verdicts: of all claims on all problems.
    """
    rows = tuple(
        (
            problem,
            answered(partial(_follows, cells=cells[problem]), found),
            *(answered(answer, found) for answer in (_width, _covers, _as_good)),
        )
        for problem, found in by_problem(verdicts).items()
        if "ensemble_covariance" in found
    )
    if not rows:
        return []
    caption = (
        "At the largest width tested; medians over seeds. Where no bias is seen, “at most” says what may hide in "
        "chance."
    )
    return [Table("ensemble_answers", "Ensembles in four questions", caption, ("", *QUESTIONS), rows)]


def _follows(found: ByClaim, cells: Sequence[Measured]) -> str:
    mean, covariance = found["ensemble_mean"], found["ensemble_covariance"]
    word = yes_if_all([mean, covariance])
    at_most = {what: "" if _is_seen(what, cells) else "at most " for what in ("mean", "covariance")}
    return (
        f"{word}: its mean is off by {at_most['mean']}{_at_largest(mean)}, its covariance by "
        f"{at_most['covariance']}{_at_largest(covariance)}."
    )


def _is_seen(what: str, cells: Sequence[Measured]) -> bool:
    """Whether the error of a moment is above what chance makes of it, at the largest width."""
    width = max(cell.width for cell in cells)
    ratios = [
        cell.scalars[f"ensemble_{what}"] / cell.scalars[f"ensemble_{what}_floor"]
        for cell in cells
        if cell.width == width
    ]
    return median_interval(ratios).value > 1


def _width(found: ByClaim) -> str:
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
    return "Inconclusive."


def _covers(found: ByClaim) -> str:
    """Of those that are nominally 95 %."""
    return _yes_or_no(found["deep_ensemble_covers"], "{} of 95 % intervals cover; {} asked for")


def _as_good(found: ByClaim) -> str:
    nll, crps = found["ntk_gp_evidence_nll"], found["ntk_gp_evidence_crps"]
    word = yes_if_all([nll, crps])
    return (
        f"{word}: the NTK-GP's NLL (evidence) is {_at_largest(nll)} nats more, its CRPS {_at_largest(crps)} times "
        "as large."
    )


def _yes_or_no(verdict: Verdict, words: str) -> str:
    word = YES_OR_NO[verdict.state]
    return f"{word}: {words.format(_at_largest(verdict), number(verdict.claim.threshold))}."


def _at_largest(verdict: Verdict) -> str:
    """Median at the largest width, or that it is inconclusive."""
    interval = verdict.widths[-1].interval
    return "an unknown amount" if interval is None else number(interval.value)
