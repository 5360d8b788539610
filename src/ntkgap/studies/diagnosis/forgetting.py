"""What a network forgets of the user's tasks, beside what its linearized model forgets after the same steps."""

from collections.abc import Mapping, Sequence
from functools import partial

from ntkgap.errors import NtkgapError
from ntkgap.practice.continual import Plain
from ntkgap.studies.claim import Claim
from ntkgap.studies.continual.claims import AGREEMENT, BENNANI, FORGETTING
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.continual.record import record_method, score_gap
from ntkgap.studies.diagnosis.problem import DiagnosisProblem
from ntkgap.studies.figures import Table
from ntkgap.studies.findings import Findings
from ntkgap.studies.measured import Measured
from ntkgap.studies.words import median_text

PREDICTED = ("tasks_gap", "tasks_forgetting_gap")


def measure_forgetting(problem: DiagnosisProblem, width: int, seed: int, findings: Findings) -> None:
    """Learn the tasks one after the other: the network, and its linearized model with the same steps."""
    if problem.tasks is None:
        return
    learner = Learner(problem.continual(width), width, seed)
    stop = learner.plan.stops[-1]
    seen = learner.train(stop, Plain())
    record_method("tasks", seen, None, findings)
    if learner.trains_otherwise:
        findings.leave_out(learner.trains_otherwise, *PREDICTED)
        return
    try:
        said = learner.train(stop, Plain(), linearized=True)
    except NtkgapError as error:
        findings.leave_out(f"the linearized model was not trained on the tasks: {error}", *PREDICTED)
        return
    record_method("tasks_twin", said, None, findings)
    number = findings.number
    findings.scalars |= {
        "tasks_gap": score_gap(said.scores[0], seen.scores[0]),
        "tasks_forgetting_gap": abs(number("tasks_forgetting") - number("tasks_twin_forgetting")),
    }


def forgetting_claims() -> list[Claim]:
    """That the linearized model, whose kernel is K(θ₀), predicts what is left of earlier tasks."""
    how = (
        "Network and linearized model begin from the same function and take the same steps on the same batches. "
        "What was hardly learned cannot be forgotten: see the table."
    )
    claim = partial(
        Claim,
        source=f"{BENNANI}, section 4",
        kind="consequence",
        threshold=AGREEMENT,
        direction="below",
        prediction="a distance of order 1/√width",
        exponent=-0.5,
        optional=True,
    )
    return [
        claim(
            key="tasks_predicted",
            title="The kernel predicts the scores of your tasks",
            statement="Scores of tasks learned so far are those of the linearized model, after the same steps.",
            quantity="tasks_gap",
            label="mean |R predicted − R observed|",
            criterion=f"in the mean over tasks s ≤ t they differ by less than {AGREEMENT:.0%} of accuracy",
            caveat=how,
        ),
        claim(
            key="forgetting_predicted",
            title="The kernel predicts how much of your tasks is forgotten",
            statement="Forgetting is that of the linearized model, after the same steps.",
            quantity="tasks_forgetting_gap",
            label="|forgetting predicted − observed|",
            criterion=f"they differ by less than {AGREEMENT:.0%} of accuracy",
            caveat=f"Forgetting is {FORGETTING}. Errors of single accuracies may cancel here. {how}",
        ),
    ]


def forgetting_tables(cells: Mapping[str, Sequence[Measured]]) -> list[Table]:
    """What is learned and forgotten, one table a problem with tasks, one row a width."""
    tables = []
    for i, (problem, found) in enumerate(cells.items()):
        with_tasks = [cell for cell in found if "tasks_forgetting" in cell.scalars]
        if not with_tasks:
            continue
        rows = []
        for width in sorted({cell.width for cell in with_tasks}):
            there = [cell.scalars for cell in with_tasks if cell.width == width]
            names = ("tasks_learning", "tasks_forgetting", "tasks_twin_learning", "tasks_twin_forgetting")
            rows.append((str(width), *(median_text([s.get(name, float("nan")) for s in there]) for name in names)))
        tables.append(
            Table(
                key=f"forgetting-{i}",
                title=f"What is forgotten of the tasks: {problem}",
                caption=f"Learned: mean score of a task right after it was learned. Forgotten: {FORGETTING}. "
                "Medians over seeds with intervals.",
                columns=("width", "learned", "forgotten", "linearized model: learned", "forgotten"),
                rows=tuple(rows),
            )
        )
    return tables
