"""What a diagnosis is of: a network family on data, and the training that it is put through."""

from typing import Self

from pydantic import Field, model_validator

from ntkgap.data import Dataset
from ntkgap.practice.losses import choose_loss
from ntkgap.studies.spec import Spec
from ntkgap.studies.trained_problem import TrainedProblem


class DefaultTraining(Spec):
    """SGD with momentum on ½‖f − y‖², for those who give no training of their own.

    Attributes:
        fraction_of_critical: η as a part of 2(1 + μ)/κ_max, above which the kernel regime diverges.
        momentum: μ.
        batch_size: examples an update; all where there are fewer.
        steps: number of updates.
    """

    fraction_of_critical: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    batch_size: int = Field(default=128, ge=1)
    steps: int = Field(default=200, ge=1)

    def describe(self) -> str:
        """In a few words."""
        return (
            f"No training was given: SGD on ½‖f − y‖², momentum {self.momentum:g}, batches of {self.batch_size} "
            f"at most, η at {self.fraction_of_critical:g} of the critical rate, {self.steps} steps."
        )


class DiagnosisProblem(TrainedProblem):
    """A network family on data, and the training that it is put through.

    Attributes:
        training: in place of a user's own, where none is given (``train``).
        probe: training examples on which kernels are compared, so many at most.
    """

    training: DefaultTraining = DefaultTraining()
    probe: int = Field(default=48, ge=2)

    @model_validator(mode="after")
    def _has_two_examples(self) -> Self:
        if self.data.n_train < 2:
            raise ValueError("data: n_train must be at least 2, for a kernel to compare")
        return self

    def describe(self) -> str:
        """Data, sizes and the training."""
        own = self.train.describe().strip() if self.train else self.training.describe()
        return f"{self.data.n_train} training and {self.data.n_test} test examples of {self.data.label}. {own}"

    @property
    def rows(self) -> int:
        """Of the largest matrix of pairs: of the probe's outputs, or of all examples."""
        outputs = self.example(seed=0).n_outputs
        return max(min(self.probe, self.data.n_train) * outputs, self.data.n_train)

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """Training and test set of a seed.

        Raises:
            NtkgapError: if the data cannot be loaded.
        """
        return self.data.load(seed)

    def example(self, seed: int) -> Dataset:
        """The training set, once it suits the loss."""
        train, test = self.load(seed)
        choose_loss("squared" if self.train is None else self.train.objective, train, test)
        return train
