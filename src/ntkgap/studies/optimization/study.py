"""The optimization study: what to measure, on which networks, at which widths."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import Generator, nn

from ntkgap.data import Dataset
from ntkgap.errors import StudyError
from ntkgap.models import MLP, ConvNet, ShallowNet
from ntkgap.studies.base import BaseProblem, BaseStudy
from ntkgap.studies.claim import Claim
from ntkgap.studies.estimate import Estimate
from ntkgap.studies.figures import CurveFigure, WidthFigure
from ntkgap.studies.optimization.claims import Tolerances, make_claims, make_figures
from ntkgap.studies.optimization.estimates import check_sizes, estimate
from ntkgap.studies.spec import Spec


class ModelSpec(Spec):
    """A network up to its width.

    Attributes:
        architecture: ``"shallow"`` (one trained hidden layer, fixed readout of signs), ``"mlp"``, or
            ``"convnet"`` (3×3 convolutions at full resolution, for images).
        nonlinearity: its name.
        depth: hidden layers of the MLP, convolutions of the convolutional network.
        parametrization: ``"ntk"``, ``"standard"``, ``"mean_field"`` or ``"mup"``, not of the shallow network.
        weight_std: σ_w, not of the shallow network.
        bias_std: σ_b, not of the shallow network.
        alpha: α, what the output is multiplied by: large is lazy; not of the shallow network.
        gamma0: γ0, the rich-lazy dial of NTK parametrisation; not of the shallow network.
        antisymmetric: whether the network starts at zero, as the difference of two copies; not of the shallow one.
        pooling: ``"global_average"`` or ``"flatten"``, before the readout of the convolutional network.
    """

    architecture: Literal["shallow", "mlp", "convnet"]
    nonlinearity: str = "relu"
    depth: int = Field(default=1, ge=1)
    parametrization: Literal["ntk", "standard", "mean_field", "mup"] = "ntk"
    weight_std: float = Field(default=1.0, gt=0)
    bias_std: float = Field(default=0.0, ge=0)
    alpha: float = Field(default=1.0, gt=0)
    gamma0: float | None = Field(default=None, gt=0)
    antisymmetric: bool = False
    pooling: Literal["global_average", "flatten"] = "global_average"

    @model_validator(mode="after")
    def _no_idle_settings(self) -> Self:
        of_layers = ("depth", "parametrization", "weight_std", "bias_std", "alpha", "gamma0", "antisymmetric")
        idle = {"shallow": (*of_layers, "pooling"), "mlp": ("pooling",)}
        for name in idle.get(self.architecture, ()):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect on architecture {self.architecture!r}; leave it out")
        return self

    def build(self, data: Dataset, width: int, generator: Generator) -> nn.Module:
        """The network of a width, for inputs and targets like those of ``data``.

        Raises:
            StudyError: if the shallow network is asked for more than its one output, or the convolutional
                network for anything but images.
            ModelError: if the nonlinearity is unknown.
        """
        if self.architecture == "mlp":
            settings = self.model_dump(exclude={"architecture", "pooling"})
            return MLP(data.n_features, data.n_outputs, width, generator=generator, **settings)
        if self.architecture == "convnet":
            if data.x.ndim != 4:
                raise StudyError(
                    f"the convolutional network takes images [n, C, H, W], but the data have x of shape "
                    f"{tuple(data.x.shape)}; choose images with flatten false, or architecture 'mlp'"
                )
            channels, height, width_of_image = data.x.shape[1:]
            settings = self.model_dump(exclude={"architecture"}) | {"image_size": (height, width_of_image)}
            return ConvNet(channels, data.n_outputs, width, generator=generator, **settings)
        if data.n_outputs != 1:
            raise StudyError(
                f"the shallow network has one output, but the data have {data.n_outputs} targets; "
                "choose another problem (--problem) or architecture 'mlp'"
            )
        return ShallowNet(data.n_features, width, self.nonlinearity, generator=generator)


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
    """

    fraction_of_critical: float = Field(default=0.5, gt=0)
    steps: int = Field(ge=1)


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
    """

    model: ModelSpec
    natural_gradient: NaturalGradientSpec
    gradient_descent: GradientDescentSpec
    search: SearchSpec | None = None

    @classmethod
    def of(cls, cell: Mapping[str, Any]) -> Self:
        """The problem that a cell made by ``OptimizationStudy.cells`` is of, at that cell's width alone."""
        settings = {k: v for k, v in cell.items() if k not in ("problem", "width", "seed")}
        return cls(name=cell["problem"], widths=[cell["width"]], **settings)

    def describe(self) -> str:
        """Data, sizes and the two trainings."""
        natural, plain = self.natural_gradient, self.gradient_descent
        damping = f", damping {natural.damping:g}" if natural.damping else ""
        return (
            f"{self.data.n_train} training examples of {Path(self.data.name).stem}; natural gradient with "
            f"η = {natural.learning_rate:g}{damping} for {natural.steps} steps; gradient descent at "
            f"{plain.fraction_of_critical:g} of the critical rate for {plain.steps} steps (fewer where the "
            "predicted loss has vanished before)."
        )

    def check(self) -> None:
        """Load the data of one seed, build the narrowest network, feed it an example, and foretell the memory."""
        train, _ = self.data.load(seed=0)
        width = min(self.widths)
        try:
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
    version: ClassVar[int] = 2
    compute: ClassVar[str] = "ntkgap.studies.optimization.cell:compute"

    problems: Sequence[OptimizationProblem] = Field(min_length=1)
    tolerances: Tolerances = Tolerances()

    def claims(self) -> list[Claim]:
        """The eight claims about optimization."""
        return make_claims(self.tolerances)

    def figures(self) -> list[WidthFigure | CurveFigure]:
        """The conditions' and the rate's numbers over width; losses and Jacobian drift over training."""
        return make_figures()

    def estimate(self, cell: Mapping[str, Any]) -> Estimate:
        """From the sizes of every layer, counted on narrow networks of the same family."""
        return estimate(OptimizationProblem.of(cell), cell["width"])
