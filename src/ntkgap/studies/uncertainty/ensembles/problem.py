"""What an ensemble problem is: data, network, number of members, and how they are trained."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ntkgap.data import Dataset
from ntkgap.studies.model import OwnModel
from ntkgap.studies.spec import Spec
from ntkgap.studies.train_spec import OF_LOGITS
from ntkgap.studies.trained_problem import TrainedProblem


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


class EnsembleProblem(TrainedProblem):
    """Ensembles of one network family on regression data.

    Attributes:
        kind: tells this kind of problem from others.
        members: networks an ensemble, M.
        training: how they are trained.
        train: how a user trains, in its place: the deep ensemble and the network of the Laplace approximation.
    """

    kind: Literal["ensemble"] = "ensemble"
    members: int = Field(ge=3)
    training: TrainingSpec

    @model_validator(mode="after")
    def _own_training_is_of_regressions(self) -> Self:
        if self.train is not None and self.train.loss_name in OF_LOGITS:
            raise ValueError(
                "train: ensembles predict targets, and under the loss "
                f"{self.train.loss_name!r} outputs are logits; choose 'squared' or another loss of regressions"
            )
        return self

    @model_validator(mode="after")
    def _has_a_prediction(self) -> Self:
        model = self.model
        if isinstance(model, OwnModel):  # it has the limit of its width, or none, and then nothing is asked of it
            return self
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
        own = ", or that of the start where none is known," if isinstance(self.model, OwnModel) else ""
        return (
            f"{self.members} members; {self.data.n_train} training examples of {self.data.label}; "
            f"gradient descent at {training.fraction_of_critical:g} times the critical rate of the "
            f"infinite-width kernel{own} for {training.steps} steps."
            + (f"{self.train.describe()} So the deep ensemble is trained, and Laplace's." if self.train else "")
        )

    @property
    def role(self) -> str:
        """Its kind."""
        return self.kind

    @property
    def rows(self) -> int:
        """Of kernels on training and test inputs."""
        return self.data.n_train + self.data.n_test

    def example(self, seed: int) -> Dataset:
        """The training set."""
        return self.data.load(seed)[0]
