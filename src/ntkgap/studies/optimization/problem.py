"""What an optimization problem is: a network family on data, and how it is trained."""

from typing import Any, Self

from pydantic import AliasChoices, ConfigDict, Field, model_validator

from ntkgap.data import Dataset, in_span
from ntkgap.errors import StudyError
from ntkgap.practice.optimizers.gram_systems import LARGEST_GRAM
from ntkgap.practice.training.losses import choose_loss
from ntkgap.studies.device import moved
from ntkgap.studies.model import OwnModel
from ntkgap.studies.optimization.comparison_spec import ComparisonSpec
from ntkgap.studies.spec import Spec
from ntkgap.studies.trained_problem import TrainedProblem


class NaturalGradientSpec(Spec):
    """Exact natural gradient descent.

    Attributes:
        learning_rate: η, below 1 (at 1 the predicted loss is zero after one step and no rate is left to measure).
        steps: number of steps.
        damping: λ.
    """

    learning_rate: float = Field(default=0.5, gt=0, lt=1)
    steps: int = Field(ge=1)
    damping: float = Field(default=0.0, ge=0)


class GradientDescentSpec(Spec):
    """Full-batch gradient descent.

    Attributes:
        fraction_of_critical: learning rate as a fraction of 2/κ_max; above 1 the kernel regime diverges.
        steps: number of steps.
        observations: at how many of them, in equal ratios up to the last, the Jacobian's drift is measured; also
            along SGD, where optimizers are compared.
    """

    fraction_of_critical: float = Field(default=0.5, gt=0)
    steps: int = Field(ge=1)
    observations: int = Field(default=4, ge=1)


class SearchSpec(Spec):
    """Search of the theorem's ball for the largest change of the Jacobian.

    Attributes:
        starts: random directions to start from, besides those that theory suggests.
        steps: gradients at most for each part of every climb.
        max_parameters: networks with more are not searched: a search takes about a hundred Jacobians.
    """

    starts: int = Field(default=1, ge=1)
    steps: int = Field(default=4, ge=0)
    max_parameters: int = Field(default=20_000, ge=1)


class OptimizationProblem(TrainedProblem):
    """A network family on data, and how it is trained.

    Attributes:
        natural_gradient: how natural gradient descent is run.
        gradient_descent: how gradient descent is run.
        search: how the theorem's ball is searched; not at all if not given.
        comparison: of optimizers; none if not given.
        train: how a user trains, measured besides; not at all if not given.
        span: whether inputs are given by their coordinates in the span of them all, see ``in_span``; of the
            shallow network alone, whose start does not depend on the basis. It makes widths of 10⁶ affordable.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    natural_gradient: NaturalGradientSpec
    gradient_descent: GradientDescentSpec
    search: SearchSpec | None = None
    # Stores have it as "race": what is written, and so what a cell is, stays.
    comparison: ComparisonSpec | None = Field(
        default=None, validation_alias=AliasChoices("comparison", "race"), serialization_alias="race"
    )
    span: bool = False

    @model_validator(mode="after")
    def _span_is_of_the_shallow_network(self) -> Self:
        if self.span and (isinstance(self.model, OwnModel) or self.model.architecture != "shallow"):
            raise ValueError("span: for architecture 'shallow' alone, whose start does not depend on the basis")
        return self

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        if self.comparison is not None and (self.comparison.batch_size or 0) > self.data.n_train:
            raise ValueError(
                f"the comparison's batch_size {self.comparison.batch_size} is larger than the {self.data.n_train} "
                "training examples"
            )
        return self

    def describe(self) -> str:
        """Data, sizes and the two trainings."""
        natural, plain = self.natural_gradient, self.gradient_descent
        damping = f", damping {natural.damping:g}" if natural.damping else ""
        return (
            f"{self.data.n_train} training examples of {self.data.label}; natural gradient with "
            f"η = {natural.learning_rate:g}{damping} for {natural.steps} steps; gradient descent at "
            f"{plain.fraction_of_critical:g} times the critical rate for {plain.steps} steps (fewer where the "
            "predicted loss has vanished before)."
            + (self.comparison.describe() if self.comparison else "")
            + (self.train.describe() if self.train else "")
        )

    @property
    def rows(self) -> int:
        """Of the Gram matrix, nC."""
        return self.data.n_train * self.example(seed=0).n_outputs

    @classmethod
    def adapted(cls, settings: dict[str, Any], *, own_model: bool, own_data: bool) -> dict[str, Any]:
        """The span is of our shallow network alone."""
        return settings | {"span": False} if own_model else settings

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """Training and test set of a seed.

        Raises:
            NtkgapError: if the data cannot be loaded, or have no span.
        """
        train, test = self.data.load(seed)
        if self.span:
            train, test = in_span(train, test)
        return moved(train), moved(test)

    def example(self, seed: int) -> Dataset:
        """The training set, once it suits the loss of the comparison and the Gram matrix can be decomposed."""
        train, test = self.load(seed)
        if self.comparison is not None:
            choose_loss(self.comparison.loss, train, test)
        if (rows := train.y.numel()) > LARGEST_GRAM:
            raise StudyError(
                f"{self.name!r}: {len(train)} examples with {train.n_outputs} outputs make a Gram matrix of "
                f"{rows} rows, and at most {LARGEST_GRAM} are decomposed; the study needs all eigenvalues, which "
                "products with the matrix alone do not give: use fewer examples (n_train) or targets"
            )
        return train
