"""The optimization study: what to measure, on which networks, at which widths."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator
from torch import Generator

from ntkgap.errors import StudyError
from ntkgap.practice.losses import choose_loss
from ntkgap.studies.base import BaseProblem, BaseStudy
from ntkgap.studies.claim import Claim
from ntkgap.studies.estimate import Estimate, check_narrowest
from ntkgap.studies.figures import StudyFigure, Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.model import ModelSpec
from ntkgap.studies.optimization.answers import answers
from ntkgap.studies.optimization.axis_notes import AXIS_NOTES
from ntkgap.studies.optimization.claims import Tolerances, make_claims, make_figures
from ntkgap.studies.optimization.estimates import check_sizes, estimate
from ntkgap.studies.optimization.explanation import explanation_figure, explanation_table
from ntkgap.studies.optimization.race_claims import make_race_claims, make_race_figures
from ntkgap.studies.optimization.race_spec import RaceSpec
from ntkgap.studies.optimization.required_width import required_width_table
from ntkgap.studies.optimization.tables import race_table
from ntkgap.studies.spec import Spec
from ntkgap.studies.verdict import Verdict


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
            along SGD, where there is a race.
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


class OptimizationProblem(BaseProblem):
    """A network family on data, and how it is trained.

    Attributes:
        model: the network up to its width.
        natural_gradient: how natural gradient descent is run.
        gradient_descent: how gradient descent is run.
        search: how the theorem's ball is searched; not at all if not given.
        race: of optimisers; none if not given.
    """

    model: ModelSpec
    natural_gradient: NaturalGradientSpec
    gradient_descent: GradientDescentSpec
    search: SearchSpec | None = None
    race: RaceSpec | None = None

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        if self.race is not None and (self.race.batch_size or 0) > self.data.n_train:
            raise ValueError(
                f"the race's batch_size {self.race.batch_size} is larger than the {self.data.n_train} training "
                "examples"
            )
        return self

    @classmethod
    def of(cls, cell: Mapping[str, Any]) -> Self:
        """The problem that a cell made by ``OptimizationStudy.cells`` is of, at that cell's width alone."""
        settings = {k: v for k, v in cell.items() if k not in ("problem", "width", "seed", "variation")}
        return cls(name=cell["problem"], widths=[cell["width"]], **settings)

    def describe(self) -> str:
        """Data, sizes and the two trainings."""
        natural, plain = self.natural_gradient, self.gradient_descent
        damping = f", damping {natural.damping:g}" if natural.damping else ""
        return (
            f"{self.data.n_train} training examples of {Path(self.data.name).stem}; natural gradient with "
            f"η = {natural.learning_rate:g}{damping} for {natural.steps} steps; gradient descent at "
            f"{plain.fraction_of_critical:g} times the critical rate for {plain.steps} steps (fewer where the "
            "predicted loss has vanished before)." + (self.race.describe() if self.race else "")
        )

    def check(self) -> None:
        """Load the data of one seed, build the narrowest network, feed it an example, and foretell the memory."""
        train, test = self.data.load(seed=0)
        if self.race is not None:
            choose_loss(self.race.loss, train, test)
        width = min(self.widths)
        try:
            check_narrowest(self.name, width, partial(estimate, self))
            self.model.build(train, width, Generator())(train.x[:1])
        except (RuntimeError, MemoryError) as error:
            reason = str(error).splitlines()[0]
            raise StudyError(f"{self.name!r} cannot be built at width {width}: {reason}") from error
        check_sizes(self, train)


class OptimizationStudy(BaseStudy):
    """Does the kernel regime's optimization promise hold for these networks?

    Measures, for every width and seed: the Gram matrix at initialisation, beside that of infinite width; the
    Jacobian's drift along exact natural gradient descent, the rate of that descent, and how gradient descent
    compares with the curve, the kernel and the predictions that the constant kernel foretells.

    Attributes:
        tolerances: how close is close enough.
    """

    name: ClassVar[str] = "optimization"
    version: ClassVar[int] = 3
    compute: ClassVar[str] = "ntkgap.studies.optimization.cell:compute"
    axis_notes: ClassVar[Mapping[str, str]] = AXIS_NOTES

    problems: Sequence[OptimizationProblem] = Field(min_length=1)
    tolerances: Tolerances = Tolerances()

    def claims(self) -> list[Claim]:
        """The claims about optimization, eight of them about every network and two about those that race."""
        return [*make_claims(self.tolerances), *make_race_claims()]

    def answers(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """Is the condition met, from which width would it be, is natural gradient fast anyway, does it pay."""
        return [answers(verdicts)]

    def figures(self) -> list[StudyFigure]:
        """Conditions and rate over width and against each other; losses and Jacobian drift; the race."""
        return [*make_figures(), explanation_figure(self.tolerances.rate), *make_race_figures()]

    def tables(self, cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
        """Whether the condition explains the rate, the race, and the width theory asks for beside that found."""
        return [
            explanation_table(cells, self.tolerances.rate),
            *race_table(cells),
            required_width_table(cells, verdicts),
        ]

    def estimate(self, cell: Mapping[str, Any]) -> Estimate:
        """From the sizes of every layer, counted on narrow networks of the same family."""
        return estimate(OptimizationProblem.of(cell), cell["width"])
