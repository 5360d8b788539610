"""How many of a study's verdicts chance alone would get wrong, and which stand when that is controlled."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import scipy

from ntkgap.studies.claim import Claim
from ntkgap.studies.statistics import FEWEST_SEEDS

if TYPE_CHECKING:
    from ntkgap.studies.verdict import Verdict

RATE = 0.05


def level_p(claim: Claim, values: Sequence[float]) -> float:
    """Two-sided sign test: probability of so many seeds on one side of the threshold if that were the median.

    It assumes nothing of the distribution. Student's t of so few seeds does: with uniform or skewed noise it lets
    a wrong verdict stand on 10 to 18 % of pages of 40, where 5 % are asked for. Seeds that are inconclusive or at
    the threshold count for neither side.

    Args:
        claim: what is judged.
        values: one number a seed.
    """
    sides = [0 if math.isnan(v) else claim.side(v) for v in values]
    agreeing = max(sides.count(1), sides.count(-1))
    return min(1.0, 2 * float(scipy.stats.binom.sf(agreeing - 1, len(sides), 0.5)))


@dataclass(frozen=True)
class Discoveries:
    """The verdicts of a study at their largest widths, taken together.

    Attributes:
        n_verdicts: how many were asked for.
        n_decided: how many hold or fail.
        standing: (claim key, problem) of those that still do after control of false discoveries.
        expected_wrong: how many at most would be wrong without control, were every truth at its threshold.
        by_looks: whether seeds were added where a verdict was open.
    """

    n_verdicts: int
    n_decided: int
    standing: frozenset[tuple[str, str]]
    expected_wrong: float
    by_looks: bool = False

    def stands(self, verdict: "Verdict") -> bool:
        """Whether a verdict holds or fails and does so after control."""
        return (verdict.claim.key, verdict.problem) in self.standing

    @property
    def sentence(self) -> str:
        """What a reader must know of the number of verdicts, in one sentence."""
        if self.n_verdicts < 2 or not self.expected_wrong:  # there is a verdict from three seeds on
            return ""
        wrong = f"up to {self.expected_wrong:.1f} would be wrong by chance alone"
        head = f"Of {self.n_verdicts} verdicts at the largest width {wrong}"
        if not self.standing:
            more = f"take 9 seeds or more{' at once, into a new store,' if self.by_looks else ''} to tell"
            return f"{head}; none stands after control of false discoveries: {more}."
        return (
            f"{head}; {len(self.standing)} of the {self.n_decided} that are decided stand after control of false "
            f"discoveries, at most {RATE:.0%} of them expected to be wrong."
        )


def control(verdicts: Sequence["Verdict"], rate: float = RATE) -> Discoveries:
    """Control the rate of false discoveries over the verdicts of a study (Benjamini and Hochberg).

    A verdict stands if its interval decides it and its probability, adjusted for the number of verdicts, is at
    most the rate. Wrong verdicts are then at most that fraction of those that stand, on average; where every truth
    is at its threshold, at most that fraction of all reports has a wrong one. Five seeds never reach it; six do
    where most verdicts of the study are clear, nine where a tenth are. It assumes verdicts that are independent or
    go together, as those of one network's seeds do. Verdicts along other axes than the width are not counted.
    Where seeds were added by looks their p is that of ``looks.p_value``: what six seeds decide stands where two
    thirds of the verdicts do, or where other claims have brought more seeds that agree.

    Args:
        verdicts: of all claims on all problems.
        rate: of false discoveries.

    Source: Benjamini, Hochberg 1995; Benjamini, Yekutieli 2001 (positive dependence).
    """
    adjusted = scipy.stats.false_discovery_control([v.p for v in verdicts]) if verdicts else []
    decided = [v.state in ("holds", "fails") for v in verdicts]
    standing = frozenset(
        (v.claim.key, v.problem)
        for v, p, known in zip(verdicts, adjusted, decided, strict=True)
        if known and p <= rate
    )
    last = [v.widths[-1] for v in verdicts]
    expected = sum(1 - result.confidence for result in last if result.n_seeds >= FEWEST_SEEDS)
    return Discoveries(len(verdicts), sum(decided), standing, expected, any(result.looks for result in last))
