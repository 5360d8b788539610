"""The diagnosis: in which regime a network is trained, and from which width that would be the kernel's."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from ntkgap.studies.base import BaseStudy
from ntkgap.studies.claim import Claim
from ntkgap.studies.diagnosis.claims import Tolerances, make_claims
from ntkgap.studies.diagnosis.ensemble import ensemble_tables
from ntkgap.studies.diagnosis.forgetting import forgetting_tables
from ntkgap.studies.diagnosis.measure import measure
from ntkgap.studies.diagnosis.problem import DiagnosisProblem
from ntkgap.studies.diagnosis.show import answers, contest_table, figures
from ntkgap.studies.figures import StudyFigure, Table
from ntkgap.studies.findings import Findings
from ntkgap.studies.measured import Measured
from ntkgap.studies.train_spec import TrainSpec
from ntkgap.studies.verdict import Verdict


class DiagnosisStudy(BaseStudy):
    """Does the kernel regime describe this network, trained in this way?

    Measures, for every width and seed, a network before and after its training beside its linearized model after
    the same steps on the same batches; ``diagnose`` does it in one line.

    Attributes:
        tolerances: how close is close enough.
    """

    name: ClassVar[str] = "diagnosis"
    version: ClassVar[int] = 2  # an ensemble beside the NTK-GP

    problems: Sequence[DiagnosisProblem] = Field(min_length=1)
    tolerances: Tolerances = Tolerances()

    def claims(self) -> list[Claim]:
        """Whether anything can be said, whether the regime holds, and who generalizes best."""
        return make_claims(self.tolerances)

    def answers(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """The regime of every problem."""
        return [answers(verdicts)]

    def figures(self) -> list[StudyFigure]:
        """Numbers over width, and the loss over training."""
        return figures()

    def tables(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """Who generalizes best, whose uncertainty is better, and what is forgotten."""
        return [*contest_table(cells), *ensemble_tables(cells), *forgetting_tables(cells)]

    @classmethod
    def title(cls) -> str:
        """What a reader calls the study, in a heading."""
        return "The diagnosis"

    @classmethod
    def _with_training(cls, configuration: dict[str, Any], train: Any) -> dict[str, Any]:
        settings = TrainSpec.of(train)
        return configuration | {
            "problems": [problem | {"train": settings} for problem in configuration["problems"]]
        }

    @classmethod
    def measure(cls, problem: DiagnosisProblem, width: int, seed: int) -> Findings:
        """A network and its linearized model, trained in the same way."""
        return measure(problem, width, seed)
