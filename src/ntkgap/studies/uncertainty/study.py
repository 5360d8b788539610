"""The uncertainty study: problems of several kinds, each with claims, figures and tables of its own."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ntkgap.errors import StudyError, StudyWarning
from ntkgap.studies.base import BaseStudy
from ntkgap.studies.claim import Claim
from ntkgap.studies.figures import StudyFigure, Table
from ntkgap.studies.findings import Findings
from ntkgap.studies.measured import Measured
from ntkgap.studies.train_spec import TrainSpec
from ntkgap.studies.uncertainty import bandits, classes, ensembles
from ntkgap.studies.uncertainty.bandits import BanditProblem
from ntkgap.studies.uncertainty.bandits.measure import measure as measure_bandit
from ntkgap.studies.uncertainty.classes import ClassificationProblem
from ntkgap.studies.uncertainty.classes.measure import measure as measure_classes
from ntkgap.studies.uncertainty.ensembles import EnsembleProblem
from ntkgap.studies.uncertainty.ensembles.measure import measure as measure_ensemble
from ntkgap.studies.verdict import Verdict

KINDS = (ensembles, classes, bandits)
UncertaintyProblem = EnsembleProblem | ClassificationProblem | BanditProblem


class UncertaintyStudy(BaseStudy):
    """Is uncertainty that is derived from the NTK right for real networks, and is it of use?

    Problems of kind ``"ensemble"`` train ensembles of networks on regression data, and compare them with the
    Gaussian that infinite width predicts, at several times of training; then the calibration of what kernels,
    ensembles and the linearized Laplace approximation say about test targets.

    Problems of kind ``"classification"`` compare the class probabilities of Laplace approximations, deep ensembles
    and the NTK-GP on test data.

    Problems of kind ``"bandit"`` let exploration rules play contextual bandits: the schedule of NeuralUCB's theory
    and its infinite-width limit, tuned constants, evidence, and what does without networks.

    Example:
        >>> study = ng.UncertaintyStudy.preset("smoke", seeds=1)
        >>> sorted({problem.kind for problem in study.problems})
        ['bandit', 'classification', 'ensemble']
    """

    name: ClassVar[str] = "uncertainty"
    version: ClassVar[int] = 2
    promise: ClassVar[str] = "Theory: an ensemble of wide networks is a Gaussian process."

    problems: Sequence[Annotated[UncertaintyProblem, Field(discriminator="kind")]] = Field(min_length=1)

    def claims(self) -> list[Claim]:
        """Those of every kind of problem; each is judged where its quantity was measured."""
        return [replace(claim, optional=True) for kind in KINDS for claim in kind.claims()]

    def complete(self, cells: Sequence[Measured]) -> list[Measured]:
        """Give every bandit's tuned rules the constants that the other seeds recommend."""
        return bandits.complete(cells)

    def answers(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """One table a kind of problem that was judged."""
        return [table for kind in KINDS for table in kind.answers(cells, verdicts)]

    def figures(self) -> list[StudyFigure]:
        """Those of every kind of problem."""
        return [figure for kind in KINDS for figure in kind.figures()]

    def tables(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """Those of every kind of problem."""
        return [table for kind in KINDS for table in kind.tables(cells, verdicts)]

    @classmethod
    def _with_training(cls, configuration: dict[str, Any], train: Any) -> dict[str, Any]:
        settings = TrainSpec.of(train)
        kept, left_out = [], {}
        for problem in configuration["problems"]:
            changed = problem | {"train": settings}
            try:
                if problem["kind"] == "bandit":
                    raise StudyError("bandits train as their presets say")
                cls.build(configuration | {"problems": [changed]}, "your training")
                kept.append(changed)
            except StudyError as error:
                left_out[problem["name"]] = error
        if not kept:
            raise next(iter(left_out.values()))
        for name, reason in left_out.items():
            warnings.warn(f"{name!r} is left out: {reason}", StudyWarning, stacklevel=3)
        return configuration | {"problems": kept}

    @classmethod
    def measure(cls, problem: UncertaintyProblem, width: int, seed: int) -> Findings:
        """By the kind of the problem."""
        if isinstance(problem, BanditProblem):
            return measure_bandit(problem, width, seed)
        if isinstance(problem, ClassificationProblem):
            return measure_classes(problem, width, seed)
        return measure_ensemble(problem, width, seed)
