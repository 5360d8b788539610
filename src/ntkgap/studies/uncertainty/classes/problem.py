"""What a classification problem is: data with classes, network, number of members, and how they are trained."""

from typing import Literal, Self

from pydantic import Field, model_validator

from ntkgap.data import Dataset
from ntkgap.errors import StudyError
from ntkgap.linalg.likelihoods import are_one_hot
from ntkgap.studies.model import OwnModel
from ntkgap.studies.spec import Spec
from ntkgap.studies.train_spec import OF_LOGITS
from ntkgap.studies.trained_problem import TrainedProblem


class ClassTrainingSpec(Spec):
    """Full-batch gradient descent of all members on the summed cross-entropy.

    Attributes:
        fraction_of_critical: learning rate as a fraction of 2/κ_max of the infinite-width kernel, at most 1: the
            curvature of the cross-entropy is half that of the squared loss or less.
        steps: number of steps.
    """

    fraction_of_critical: float = Field(default=0.5, gt=0, le=1)
    steps: int = Field(ge=1)


class ClassificationProblem(TrainedProblem):
    """Ensembles of one network family on classes, beside Laplace approximations and Gaussian processes.

    Attributes:
        kind: tells this kind of problem from others.
        members: networks an ensemble, M.
        training: how they are trained.
        train: how a user trains, in its place.
    """

    kind: Literal["classification"] = "classification"
    members: int = Field(ge=2)
    training: ClassTrainingSpec

    @model_validator(mode="after")
    def _own_training_is_of_classes(self) -> Self:
        loss = None if self.train is None or self.train.fit is not None else self.train.loss
        if isinstance(loss, str) and loss not in OF_LOGITS:
            raise ValueError(
                "train: class probabilities are the softmax of outputs, and the loss "
                f"{loss!r} fits the outputs themselves; choose 'cross_entropy'"
            )
        return self

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        model = self.model
        if not isinstance(model, OwnModel) and not (model.one_limit and model.trained == "all"):
            raise ValueError(
                "classifiers are compared with one infinite-width limit; that takes parametrization 'ntk' and all "
                "layers trained"
            )
        return self

    def describe(self) -> str:
        """Data, sizes and training."""
        training = self.training
        own = ", or that of the start where none is known," if isinstance(self.model, OwnModel) else ""
        return (
            f"{self.members} members; {self.data.n_train} training examples of {self.data.label}; gradient "
            f"descent on the cross-entropy at {training.fraction_of_critical:g} times the critical rate of the "
            f"infinite-width kernel{own} for {training.steps} steps."
            + (f"{self.train.describe()} So all networks are trained." if self.train else "")
        )

    @property
    def role(self) -> str:
        """Its kind."""
        return self.kind

    def title(self, network: str, data: str) -> str:
        """Told from an ensemble of the same network on the same data."""
        return f"{network}, classes of {data}"

    @property
    def rows(self) -> int:
        """Of kernels on training and test inputs."""
        return self.data.n_train + self.data.n_test

    def example(self, seed: int) -> Dataset:
        """The training set.

        Raises:
            StudyError: if its targets are no classes, one column for each.
        """
        train = self.data.load(seed)[0]
        if not are_one_hot(train.y):
            raise StudyError(
                f"{self.name!r} is about classes, but the targets of {self.data.label} are no one-hot columns; "
                "give class labels, or targets: one_hot in the options of the data"
            )
        return train
