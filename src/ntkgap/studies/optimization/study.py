"""The optimization study: what to measure, on which networks, at which widths."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from ntkgap.studies.base import BaseStudy
from ntkgap.studies.claim import Claim
from ntkgap.studies.figures import StudyFigure, Table
from ntkgap.studies.findings import Findings
from ntkgap.studies.measured import Measured
from ntkgap.studies.optimization.answers import answers
from ntkgap.studies.optimization.axis_notes import AXIS_NOTES
from ntkgap.studies.optimization.claims import Tolerances, make_claims, make_figures
from ntkgap.studies.optimization.comparison_claims import make_comparison_claims, make_comparison_figures
from ntkgap.studies.optimization.explanation import explanation_figure, explanation_table
from ntkgap.studies.optimization.measure import measure
from ntkgap.studies.optimization.own_training import own_training_claims, own_training_figures
from ntkgap.studies.optimization.problem import OptimizationProblem
from ntkgap.studies.optimization.required_width import required_width_table
from ntkgap.studies.optimization.show import comparison_table
from ntkgap.studies.train_spec import TrainSpec
from ntkgap.studies.verdict import Verdict


class OptimizationStudy(BaseStudy):
    """Does the kernel regime's optimization promise hold for these networks?

    Measures, for every width and seed: the Gram matrix at initialization, beside that of infinite width; the
    Jacobian's drift along exact natural gradient descent, the rate of that descent, and how gradient descent
    compares with the loss curve, the kernel and the outputs that the constant kernel predicts.

    Attributes:
        tolerances: how close is close enough.

    Example:
        >>> study = ng.OptimizationStudy.preset("smoke", widths=[8, 16], seeds=2)
        >>> len(study.cells()), [claim.key for claim in study.claims()][:2]
        (8, ['gram_positive_definite', 'jacobian_stable'])
    """

    name: ClassVar[str] = "optimization"
    version: ClassVar[int] = 4  # the rate of natural gradient is judged on its worst step
    promise: ClassVar[str] = "Theory: a wide network trains like its linearized model (NTK)."
    axis_notes: ClassVar[Mapping[str, str]] = AXIS_NOTES

    problems: Sequence[OptimizationProblem] = Field(min_length=1)
    tolerances: Tolerances = Tolerances()

    def claims(self) -> list[Claim]:
        """Eight about every network, three about a user's own training, and two that compare optimizers."""
        comparison = [replace(claim, optional=True) for claim in make_comparison_claims()]
        limits = self.tolerances
        return [
            *make_claims(limits),
            *own_training_claims(limits.curve, limits.kernel, limits.linearized),
            *comparison,
        ]

    def answers(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """Is the condition met, from which width would it be, is natural gradient fast anyway, does it pay."""
        return [answers(verdicts)]

    def figures(self) -> list[StudyFigure]:
        """Conditions and rate over width and against each other; losses and drift; optimizers compared."""
        return [
            *make_figures(),
            explanation_figure(self.tolerances.rate),
            *own_training_figures(),
            *make_comparison_figures(),
        ]

    def tables(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """Whether the condition explains the rate, the optimizers compared, and the width that theory asks for."""
        return [
            explanation_table(cells, self.tolerances.rate),
            *comparison_table(cells),
            required_width_table(cells, verdicts),
        ]

    @classmethod
    def _with_training(cls, configuration: dict[str, Any], train: Any) -> dict[str, Any]:
        settings = TrainSpec.of(train)
        return configuration | {
            "problems": [problem | {"train": settings} for problem in configuration["problems"]]
        }

    @classmethod
    def measure(cls, problem: OptimizationProblem, width: int, seed: int) -> Findings:
        """Two trainings beside what the kernel predicts, and the optimizer comparison."""
        return measure(problem, width, seed)
