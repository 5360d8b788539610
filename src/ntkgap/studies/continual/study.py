"""The continual-learning study: networks that learn streams of tasks, beside what kernels say they forget."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from ntkgap.errors import StudyError, StudyWarning
from ntkgap.studies.base import BaseStudy
from ntkgap.studies.claim import Claim
from ntkgap.studies.continual.answers import answers
from ntkgap.studies.continual.claims import claims
from ntkgap.studies.continual.decomposition import complete
from ntkgap.studies.continual.measure import measure
from ntkgap.studies.continual.problem import ContinualProblem
from ntkgap.studies.continual.show import figures, tables
from ntkgap.studies.figures import StudyFigure, Table
from ntkgap.studies.findings import Findings
from ntkgap.studies.measured import Measured
from ntkgap.studies.train_spec import TrainSpec
from ntkgap.studies.verdict import Verdict


class ContinualStudy(BaseStudy):
    """Do wide networks forget less, and does the kernel predict what is forgotten?

    Every problem is a network on a stream of tasks, each learned for several numbers of steps. What is left of
    earlier tasks is compared with what kernel regression, one task after the other, predicts at the same steps:
    with the kernel of infinite width, the one at the start, and the one at each task's start.

    Example:
        >>> study = ng.ContinualStudy.preset("smoke", seeds=1)
        >>> [claim.key for claim in study.claims()][:2]
        ['width_helps_after_3', 'width_helps_after_30']
    """

    name: ClassVar[str] = "continual"
    version: ClassVar[int] = 5  # orthogonal gradients are judged on the examples that they store
    promise: ClassVar[str] = "Theory: the NTK predicts how much a wide network forgets of earlier tasks."
    compares_widths: ClassVar[bool] = True
    seeds_at_once: ClassVar[bool] = True
    axis_notes: ClassVar[Mapping[str, str]] = {
        "stream.angle": "A similarity: tasks a small angle apart are nearly one. Theory asks for no order; most "
        "is forgotten, as a rule, between the extremes (Lee, Goldt, Saxe 2021).",
        "stream.fraction": "A similarity: few exchanged pixels make tasks that are nearly one.",
        "stream.similarity": "A similarity: the correlation of the targets of two tasks in a row.",
        "stream.overlap": "A similarity: how many classes two tasks in a row share.",
        "model.alpha": "Large α is lazy: the kernel stays, and its predictions must become right whatever the "
        "width (Chizat, Oyallon, Bach 2019).",
    }

    problems: Sequence[ContinualProblem] = Field(min_length=1)

    def claims(self) -> list[Claim]:
        """Each is judged where its quantity was measured."""
        by_steps = [p for p in self.problems if p.train is None or p.train.fit is None]
        stops = sorted({stop for problem in by_steps for stop in problem.stops})
        scores = sorted({score for p in self.problems if p.train is None for score in p.training.accuracies})
        own_function = len(by_steps) < len(self.problems)
        return [replace(claim, optional=True) for claim in claims(stops, scores, own_function)]

    def complete(self, cells: Sequence[Measured]) -> list[Measured]:
        """Compare every network with the narrowest of its seed that learns the tasks."""
        return complete(cells)

    def answers(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """One row a problem."""
        return answers(cells, verdicts)

    def figures(self) -> list[StudyFigure]:
        """Predicted and observed forgetting, over width and time."""
        return figures()

    def tables(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """Accuracies at every training budget and of every method."""
        return tables(cells, verdicts)

    @classmethod
    def _with_training(cls, configuration: dict[str, Any], train: Any) -> dict[str, Any]:
        """Problems that cannot be trained so are left out, with a warning; axes of the preset's training too."""
        settings, kept, left_out = TrainSpec.of(train), [], {}
        for problem in configuration["problems"]:
            changed = _without_axes_of_training(problem) | {"train": settings}
            try:
                cls.build(configuration | {"problems": [changed]}, f"own training of {problem['name']!r}")
                kept.append(changed)
            except StudyError as error:
                left_out[problem["name"]] = str(error)
        if not kept:
            raise StudyError(next(iter(left_out.values())))
        if left_out:
            reasons = "; ".join(left_out.values())
            warnings.warn(f"left out, as they do not fit: {reasons}", StudyWarning, stacklevel=4)
        return configuration | {"problems": kept}

    @classmethod
    def measure(cls, problem: ContinualProblem, width: int, seed: int) -> Findings:
        """A network learns a stream, beside what kernels say it would do."""
        return measure(problem, width, [seed])[0]

    @classmethod
    def measure_seeds(cls, problem: ContinualProblem, width: int, seeds: Sequence[int]) -> list[Findings]:
        """Networks of several seeds learn their streams at once."""
        return measure(problem, width, seeds)


def _without_axes_of_training(problem: dict[str, Any]) -> dict[str, Any]:
    """Settings of a problem whose variations leave the preset's training alone."""
    variations = problem.get("variations")
    if variations is None:
        return problem
    axes = {axis: values for axis, values in variations["axes"].items() if not axis.startswith("training.")}
    return problem | {"variations": variations | {"axes": axes} if axes else None}
