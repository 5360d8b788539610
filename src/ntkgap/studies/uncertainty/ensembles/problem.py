"""What an ensemble problem is: data, network, number of members, and how they are trained."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator
from torch import Generator

from ntkgap.errors import StudyError
from ntkgap.studies.base import BaseProblem
from ntkgap.studies.estimate import Estimate, check_narrowest
from ntkgap.studies.model import ModelSpec
from ntkgap.studies.spec import Spec
from ntkgap.studies.uncertainty.ensembles.estimates import estimate


class TrainingSpec(Spec):
    """Full-batch gradient descent of all members.

    Attributes:
        fraction_of_critical: learning rate as a fraction of 2/κ_max of the infinite-width kernel, below 1: from
            there on infinitely wide networks diverge.
        steps: number of steps.
        observations: at how many steps the ensemble is compared with theory, in equal ratios up to the last.
    """

    fraction_of_critical: float = Field(default=0.5, gt=0, lt=1)
    steps: int = Field(ge=1)
    observations: int = Field(default=5, ge=1)

    @property
    def observed_steps(self) -> list[int]:
        """The steps at which the ensemble is compared with theory, ascending."""
        steps = np.geomspace(1, self.steps, self.observations + 1)[1:].round().astype(int)
        return sorted(set(steps.tolist()))


class EnsembleProblem(BaseProblem):
    """Ensembles of one network family on regression data.

    Attributes:
        kind: tells this kind of problem from others.
        model: the network up to its width; in NTK parametrisation, whose limit is the same at every width.
        members: networks an ensemble, M.
        training: how they are trained.
    """

    kind: Literal["ensemble"] = "ensemble"
    model: ModelSpec
    members: int = Field(ge=3)
    training: TrainingSpec

    @model_validator(mode="after")
    def _has_a_prediction(self) -> Self:
        model = self.model
        if not model.one_limit:
            raise ValueError(
                "ensembles are compared with one infinite-width limit; that takes parametrization 'ntk'"
            )
        if model.antisymmetric or model.trained != "all":
            raise ValueError(
                "members start from random functions and train all layers: no antisymmetric, no trained"
            )
        return self

    def describe(self) -> str:
        """Data, sizes and training."""
        training = self.training
        return (
            f"{self.members} members; {self.data.n_train} training examples of {Path(self.data.name).stem}; "
            f"gradient descent at {training.fraction_of_critical:g} times the critical rate of the infinite-width "
            f"kernel for {training.steps} steps."
        )

    def check(self) -> None:
        """Load the data of one seed, build the narrowest network, and feed it an example."""
        train, _ = self.data.load(seed=0)
        width = min(self.widths)
        try:
            check_narrowest(self.name, width, self.estimate)
            self.model.build(train, width, Generator())(train.x[:1])
        except (RuntimeError, MemoryError) as error:
            reason = str(error).splitlines()[0]
            raise StudyError(f"{self.name!r} cannot be built at width {width}: {reason}") from error

    def estimate(self, width: int) -> Estimate:
        """Operations, memory and time of a cell of this width."""
        return estimate(self, width)
