"""What a diagnosis shows besides its claims: the sentence, who generalizes best, and numbers over width."""

import math
from collections.abc import Mapping, Sequence

from ntkgap.studies.diagnosis.measure import PREDICTORS
from ntkgap.studies.diagnosis.regime import regime_of
from ntkgap.studies.figures import CurveFigure, StudyFigure, Table, WidthFigure
from ntkgap.studies.measured import Measured
from ntkgap.studies.verdict import Verdict
from ntkgap.studies.words import by_problem, median_text

LABELS = {
    "network": "network",
    "twin": "linearized model, same steps",
    "kernel_start": "kernel regression, K(θ₀)",
    "kernel_end": "kernel regression, K(θ_T)",
}


def answers(verdicts: Sequence[Verdict]) -> Table:
    """One row a problem: its regime, why, and the width that would change it."""
    found = {problem: regime_of(keyed) for problem, keyed in by_problem(verdicts).items()}
    return Table(
        key="regime",
        title="In which regime is the network trained?",
        caption="At the largest width tried; numbers are medians over seeds with intervals. The rule and its "
        "limits: docs/diagnose.md.",
        columns=("", "regime", "because", "the kernel regime"),
        rows=tuple((problem, r.name, f"{r.reason}.", f"{r.outlook}.") for problem, r in found.items()),
    )


def contest_table(cells: Mapping[str, Sequence[Measured]]) -> list[Table]:
    """Who generalizes best at the largest width; one table a problem, one row a predictor."""
    tables = []
    for i, (problem, found) in enumerate(cells.items()):
        widest = max(c.width for c in found)
        there = [c for c in found if c.width == widest]
        rows = [row for name in PREDICTORS if (row := _row(name, there))]
        if rows:
            tables.append(
                Table(
                    key=f"contest-{i}",
                    title=f"Who generalizes best: {problem}, width {widest}",
                    caption="Test loss as a multiple of the network's; score is the fraction of test examples "
                    "whose class is told. Kernel regressions use the mean kernel over outputs and stop where they "
                    "fit the training targets as closely as the network does (beside other losses: where 1 % of "
                    "the squared residual is left). Best: in so many seeds the smallest loss, or else the largest "
                    "score.",
                    columns=("", "test loss / network's", "test score", "best"),
                    rows=tuple(rows),
                )
            )
    return tables


def _row(name: str, cells: Sequence[Measured]) -> tuple[str, ...] | None:
    """One predictor; None where no seed has it."""
    losses = [_ratio(name, cell) for cell in cells]
    scores = [cell.scalars.get(f"{name}_test_score", math.nan) for cell in cells]
    if all(map(math.isnan, [*losses, *scores])):
        return None
    best = sum(name == _best(cell) for cell in cells)
    return LABELS[name], median_text(losses), median_text(scores), f"{best} of {len(cells)} seeds"


def _ratio(name: str, cell: Measured) -> float:
    if name == "network":
        return 1.0 if "network_test_loss" in cell.scalars else math.nan
    return cell.scalars.get(f"{name}_test_ratio", math.nan)


def _best(cell: Measured) -> str:
    """By loss where all that were tried have one, else by score; the first of several."""
    losses = {n: cell.scalars[key] for n in PREDICTORS if (key := f"{n}_test_loss") in cell.scalars}
    scores = {n: -cell.scalars[key] for n in PREDICTORS if (key := f"{n}_test_score") in cell.scalars}
    found = losses if len(losses) >= len(scores) else scores
    return min(found, key=lambda name: found[name]) if found else ""


def figures() -> list[StudyFigure]:
    """Numbers over width, and the loss over training."""
    return [
        WidthFigure(
            key="changes",
            title="What training changed",
            caption="The kernel regime says that the first three vanish as networks grow wide.",
            y_label="relative change",
            measured="linearization_gap",
            measured_label="linearization gap",
            references=(
                ("kernel_change", "kernel, ‖K_T − K_0‖/‖K_0‖"),
                ("kernel_distance", "its direction, 1 − cos"),
                ("parameter_change", "parameters, ‖θ_T − θ_0‖/‖θ_0‖"),
            ),
        ),
        WidthFigure(
            key="stability",
            title="How large the step is",
            caption="η κ_max/(2(1 + μ)) after training and before; past 1 the linearized model diverges.",
            y_label="fraction of the largest stable step",
            measured="stability_end",
            measured_label="after training",
            references=(("stability_start", "before"),),
        ),
        WidthFigure(
            key="alignment",
            title="How the kernel aligns with the targets",
            caption="yᵀKy/(‖K‖‖y‖²) on the probe; features that are learned raise it.",
            y_label="alignment",
            measured="alignment_end",
            measured_label="after training",
            references=(("alignment_start", "before"),),
        ),
        CurveFigure(
            key="curves",
            title="The training loss: predicted and measured",
            caption="Relative to its start; median and range over seeds. Dashed: the linearized model after the "
            "same steps on the same batches.",
            x_label="step",
            y_label="L / L₀",
            measured="loss",
            predicted="loss_predicted",
            predicted_label="linearized model",
        ),
    ]
