"""The verdicts of a study in a few sentences and one table, for page and terminal alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from ntkgap.studies.claim import Claim
from ntkgap.studies.discoveries import Discoveries, control
from ntkgap.studies.statistics import CONFIDENCE, FEWEST_SEEDS, median_confidence
from ntkgap.studies.verdict import Verdict


@dataclass(frozen=True)
class Scorecard:
    """Verdicts laid out as claims × problems.

    Attributes:
        claims: rows.
        problems: columns.
        cells: the verdict of (claim key, problem).
        discoveries: the verdicts of the whole study taken together.
    """

    claims: list[Claim]
    problems: list[str]
    cells: dict[tuple[str, str], Verdict]
    discoveries: Discoveries

    @classmethod
    def of(cls, verdicts: list[Verdict], discoveries: Discoveries | None = None) -> "Scorecard":
        """Lay verdicts out in the order in which they come; as part of a study, with its discoveries."""
        claims = {v.claim.key: v.claim for v in verdicts}
        problems = dict.fromkeys(v.problem for v in verdicts)
        cells = {(v.claim.key, v.problem): v for v in verdicts}
        return cls(list(claims.values()), list(problems), cells, discoveries or control(verdicts))

    def parts(self) -> "list[Scorecard]":
        """The card in parts whose problems have no claim in common: problems of another kind have other claims."""
        groups: list[list[str]] = []
        for problem in self.problems:
            keys = {v.claim.key for v in self.column(problem)}
            related = [g for g in groups if any(keys & {v.claim.key for v in self.column(p)} for p in g)]
            groups = [g for g in groups if g not in related] + [[*(p for g in related for p in g), problem]]
        columns = [[v for problem in group for v in self.column(problem)] for group in groups]
        return [Scorecard.of(verdicts, self.discoveries) for verdicts in columns]

    def row(self, claim: Claim) -> list[Verdict]:
        """Verdicts of a claim on every problem on which it was judged."""
        return [self.cells[claim.key, p] for p in self.problems if (claim.key, p) in self.cells]

    def column(self, problem: str) -> list[Verdict]:
        """Verdicts on a problem, of every claim that was judged there."""
        return [self.cells[c.key, problem] for c in self.claims if (c.key, problem) in self.cells]

    def widths(self, problem: str) -> tuple[int, int]:
        """The smallest and the largest width at which any claim was judged on a problem."""
        widths = [r.width for v in self.column(problem) for r in v.widths]
        return min(widths), max(widths)

    def reservation(self, verdict: Verdict) -> str:
        """What to say of a verdict that its seeds decide, but not among so many verdicts; else empty."""
        # Where none stands, that is said once for all.
        silent = (
            verdict.state == "inconclusive" or not self.discoveries.standing or self.discoveries.stands(verdict)
        )
        return "" if silent else f"may be chance among {self.discoveries.n_verdicts} verdicts"

    def reach(self, verdict: Verdict) -> str:
        """Up to which width a claim was judged, where others on the problem were judged beyond; else empty."""
        last = verdict.widths[-1].width
        return f"judged up to width {last}" if last < self.widths(verdict.problem)[1] else ""


def bottom_line(card: Scorecard, problem: str) -> str:
    """One sentence on a problem at its largest width: conditions that are refuted, predictions that are confirmed.

    A condition is never said to be met: what is measured can refute it, not confirm it. Claims that were judged
    only at smaller widths are not counted.
    """
    largest = card.widths(problem)[1]
    column = [v for v in card.column(problem) if v.widths[-1].width == largest]
    conditions = [v for v in column if v.claim.kind == "condition"]
    predictions = [v for v in column if v.claim.kind == "consequence"]
    unmet = sum(v.state == "fails" for v in conditions)
    holds, fails, inconclusive = (
        sum(v.state == s for v in predictions) for s in ("holds", "fails", "inconclusive")
    )
    link = "and"
    if unmet:
        parts = f"{unmet} of {len(conditions)} sufficient conditions {'is' if unmet == 1 else 'are'} not met"
        link = "yet" if holds > len(predictions) / 2 else "and"
    elif any(v.state == "inconclusive" for v in conditions):
        parts = "whether the sufficient conditions judged here are met is inconclusive"
    elif conditions:
        parts = "none of the sufficient conditions judged here is refuted"
    else:
        parts = ""
    if not predictions:
        return f"At width {largest}, {parts or 'nothing was judged'}."
    counts = [f"{n} {word}" for n, word in ((fails, "refuted"), (inconclusive, "inconclusive")) if n]
    outcome = ", ".join([f"{holds} of {len(predictions)} predictions of the theory are confirmed", *counts])
    return f"At width {largest}, {f'{parts}, {link} ' if parts else ''}{outcome}."


def seeds_note(verdicts: list[Verdict]) -> str:
    """What the intervals mean with the seeds at hand."""
    results = [r for v in verdicts for r in v.widths]
    n = min(r.n_seeds for r in results)
    note = "One mark a width, narrow to wide. Numbers are medians over seeds with order-statistic intervals"
    if looks := next((r.looks for r in results if r.looks), None):
        others = f"Trends, other tables and figures show the first {looks.first} seeds"
        return f"{note}; {looks.sentence}. {others}."
    if median_confidence(n) >= CONFIDENCE:
        return f"{note} of {CONFIDENCE:.0%} confidence."
    if n == 1:
        return f"{note}; one seed has no interval and decides nothing: add seeds (--seeds 6)."
    reached = f"with {n} seeds their confidence is {median_confidence(n):.0%}"
    return f"{note}; {reached}: add seeds (--seeds 6) for more."


def how_sure(cards: Sequence[Scorecard]) -> str:
    """On what the answers of a page rest, and how many of them may be wrong, in two sentences."""
    results = [r for card in cards for v in card.cells.values() for r in v.widths]
    if not results:
        return ""
    least, most = min(r.n_seeds for r in results), max(r.n_seeds for r in results)
    seeds = f"{least} seed{'s' if least > 1 else ''}" if least == most else f"{least} to {most} seeds"
    rest = f"How sure: an answer is given where the interval over {seeds} lies on one side of the claim's limit."
    if least < FEWEST_SEEDS:
        few = "is one seed" if least == 1 else f"are {least} seeds"
        return f"How sure: not at all where there {few}; add seeds (--seeds 6)."
    wrong = sum(card.discoveries.expected_wrong for card in cards)
    judged = sum(card.discoveries.n_verdicts for card in cards)
    confidence = min(r.confidence for r in results)
    return (
        f"{rest} Each interval is right with probability {confidence:.0%} or more: at most {wrong:.0f} of "
        f"{judged} answers are expected to be wrong by chance."
    )
