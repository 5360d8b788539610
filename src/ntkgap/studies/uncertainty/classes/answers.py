"""What a reader in a hurry asks of classifiers, answered from the verdicts."""

from collections.abc import Mapping, Sequence
from functools import partial

from ntkgap.studies.figures import Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.verdict import Verdict, number
from ntkgap.studies.words import ByClaim, answered, by_problem, yes_if_all

QUESTIONS = (
    "is Laplace as good as an ensemble?",
    "is the NTK-GP?",
    "does Laplace improve on its network?",
)


def answers(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
    """One row a problem, one column a question; no table where no classifier was judged.

    Args:
        cells: those that are done, by problem; not needed.
        verdicts: of all claims on all problems.
    """
    rows = tuple(
        (
            problem,
            answered(partial(_as_good, name="class_laplace_evidence"), found),
            answered(partial(_as_good, name="class_ntk_gp_evidence"), found),
            answered(_gain, found),
        )
        for problem, found in by_problem(verdicts).items()
        if any(key.startswith("class_") for key in found)
    )
    if not rows:
        return []
    caption = "At the largest width tested; medians over seeds. Prior precisions are those of the evidence."
    return [Table("class_answers", "Classifiers in three questions", caption, ("", *QUESTIONS), rows)]


def _as_good(found: ByClaim, name: str) -> str:
    nll, ece = found[f"{name}_nll"], found[f"{name}_ece"]
    return f"{yes_if_all([nll, ece])}: NLL {_at_largest(nll)} nats and ECE {_at_largest(ece)} more."


def _gain(found: ByClaim) -> str:
    verdict = found["class_laplace_improves"]
    return f"{yes_if_all([verdict])}: its NLL is {_at_largest(verdict)} times the network's."


def _at_largest(verdict: Verdict) -> str:
    """Median at the largest width, or that it is inconclusive."""
    interval = verdict.widths[-1].interval
    return "an unknown amount" if interval is None else number(interval.value)
