"""What a diagnosis is of: a network family on data, and the training that it is put through."""

from typing import Self

from pydantic import Field, model_validator

from ntkgap.data import Dataset
from ntkgap.practice.training.losses import choose_loss
from ntkgap.studies.continual import ContinualProblem
from ntkgap.studies.continual.stream_spec import TasksSpec
from ntkgap.studies.continual.training_spec import TrainingSpec
from ntkgap.studies.spec import DataSpec, Spec
from ntkgap.studies.trained_problem import TrainedProblem


class DefaultTraining(Spec):
    """SGD with momentum on ½‖f − y‖², for those who give no training of their own.

    Attributes:
        fraction_of_critical: η as a fraction of 2(1 + μ)/κ_max, above which the kernel regime diverges.
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
        members: networks of the ensemble whose uncertainty is compared with a Gaussian process, M; 0 for none.
        tasks: data of tasks that are learned one after the other besides, one file or data set each; none if not
            given.
    """

    training: DefaultTraining = DefaultTraining()
    probe: int = Field(default=48, ge=2)
    members: int = Field(default=5, ge=0)
    tasks: DataSpec | None = Field(default=None, exclude_if=lambda tasks: tasks is None)

    @model_validator(mode="after")
    def _has_two_examples(self) -> Self:
        if self.data.n_train < 2:
            raise ValueError("data: n_train must be at least 2, for a kernel to compare")
        return self

    @model_validator(mode="after")
    def _has_an_ensemble(self) -> Self:
        if self.members in (1, 2):
            raise ValueError(f"members: an ensemble has 3 networks or more, or 0 for none, got {self.members}")
        return self

    @model_validator(mode="after")
    def _tasks_can_be_learned(self) -> Self:
        if self.tasks is not None:
            self.continual(self.widths[0])
        return self

    def describe(self) -> str:
        """Data, sizes and the training."""
        own = self.train.describe().strip() if self.train else self.training.describe()
        tasks = "" if self.tasks is None else f" Besides, tasks one after the other: {self.tasks.label}."
        return (
            f"{self.data.n_train} training and {self.data.n_test} test examples of {self.data.label}. {own}{tasks}"
        )

    def continual(self, width: int) -> ContinualProblem:
        """The tasks, learned one after the other as the data are.

        Without a training of the user's the step is the same fraction of the critical one of each task's kernel.
        """
        own, data = self.training, self.tasks
        assert data is not None
        training = TrainingSpec(
            optimizer="sgd",
            rate_by_width="fraction_of_critical",
            fraction_of_critical=own.fraction_of_critical * (1 + own.momentum),
            momentum=own.momentum,
            batch_size=min(own.batch_size, data.n_train),
            steps=[max(1, own.steps - 1), max(2, own.steps)],  # the last one counts
        )
        return ContinualProblem(
            name=self.name,
            data=data,
            model=self.model,
            widths=[width],
            stream=TasksSpec(),
            training=training,
            train=self.train,
            kernels=[],
        )

    def check(self) -> None:
        """As of any problem; the tasks are loaded, and an update of them is tried."""
        super().check()
        if self.tasks is not None:
            self.continual(min(self.widths)).check()

    @property
    def all_data(self) -> list[DataSpec]:
        """The data, and those of the tasks."""
        return [*super().all_data, *([] if self.tasks is None else [self.tasks])]

    def pinned(self) -> Self:
        """The tasks' files are named by their content, too."""
        found = super().pinned()
        return found if self.tasks is None else found.model_copy(update={"tasks": self.tasks.pinned()})

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
