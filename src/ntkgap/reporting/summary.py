"""The verdicts of a study in a few sentences and one table, for page and terminal alike."""

from dataclasses import dataclass

from ntkgap.studies.claim import Claim
from ntkgap.studies.statistics import attainable_confidence
from ntkgap.studies.verdict import Verdict


@dataclass(frozen=True)
class Scorecard:
    """Verdicts laid out as claims × problems.

    Attributes:
        claims: rows.
        problems: columns.
        cells: the verdict of (claim key, problem).
    """

    claims: list[Claim]
    problems: list[str]
    cells: dict[tuple[str, str], Verdict]

    @classmethod
    def of(cls, verdicts: list[Verdict]) -> "Scorecard":
        """Lay verdicts out in the order in which they come."""
        claims = {v.claim.key: v.claim for v in verdicts}
        problems = dict.fromkeys(v.problem for v in verdicts)
        return cls(list(claims.values()), list(problems), {(v.claim.key, v.problem): v for v in verdicts})

    def row(self, claim: Claim) -> list[Verdict]:
        """Verdicts of a claim on every problem."""
        return [self.cells[claim.key, p] for p in self.problems]

    def column(self, problem: str) -> list[Verdict]:
        """Verdicts of every claim on a problem."""
        return [self.cells[c.key, problem] for c in self.claims]


def bottom_line(card: Scorecard, problem: str) -> str:
    """One sentence on a problem at its largest width: which conditions are refuted, what is borne out.

    A condition is never said to be met: what is measured can refute it, not confirm it.
    """
    column = card.column(problem)
    conditions = [v for v in column if v.claim.kind == "condition"]
    predictions = [v for v in column if v.claim.kind == "consequence"]
    unmet = sum(v.state == "fails" for v in conditions)
    borne_out = sum(v.state == "holds" for v in predictions)
    link = "and"
    if unmet:
        parts = f"{unmet} of {len(conditions)} sufficient conditions {'is' if unmet == 1 else 'are'} not met"
        link = "yet" if borne_out > len(predictions) / 2 else "and"
    elif any(v.state == "undecided" for v in conditions):
        parts = "whether the sufficient conditions are met is undecided"
    else:
        parts = "no sufficient condition of the theorem is refuted"
    outcome = f"{borne_out} of {len(predictions)} predictions of the theory are borne out"
    return f"At width {column[0].widths[-1].width}, {parts}, {link} {outcome}."


def seeds_note(verdicts: list[Verdict]) -> str:
    """What the intervals mean with the seeds at hand."""
    n = min(r.n_seeds for v in verdicts for r in v.widths)
    note = "Points are medians over seeds, bands 95 % percentile-bootstrap intervals of the median."
    if attainable_confidence(n) < 0.95:
        note += (
            f" With {n} seed{'s' if n > 1 else ''} such an interval reaches at most "
            f"{attainable_confidence(n):.0%} confidence: add seeds (--seed 0:8) for more."
        )
    return note
