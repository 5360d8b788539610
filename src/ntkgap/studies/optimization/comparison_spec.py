"""What an optimizer comparison is specified with."""

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from ntkgap.studies.spec import Spec

Method = Literal["gd", "sgd", "adam", "ngd", "ngd_theorem", "ngd_search", "ngd_adaptive", "kfac"]
METHODS: tuple[Method, ...] = get_args(Method)
FIRST_ORDER: tuple[Method, ...] = ("gd", "sgd", "adam")
NATURAL_GRADIENT: tuple[Method, ...] = ("ngd", "ngd_theorem", "ngd_search", "ngd_adaptive")

# η that K-FAC is tuned over, with its damping.
KFAC_RATES = (0.5, 1.0)

# In all figures and tables.
LABELS: dict[Method, str] = {
    "gd": "gradient descent",
    "sgd": "SGD with momentum",
    "adam": "Adam",
    "ngd": "natural gradient",
    "ngd_theorem": "natural gradient, largest step of the theorem",
    "ngd_search": "natural gradient, step searched",
    "ngd_adaptive": "natural gradient, damping adapted",
    "kfac": "K-FAC",
}


class ComparisonSpec(Spec):
    """Optimizers from one start to one training loss, in steps and in seconds.

    Gradient descent and plain natural gradient run as the problem says; SGD, Adam and K-FAC are tuned to need
    as few steps to the target as they can; the other natural gradients choose their step or damping themselves.

    Attributes:
        steps: updates at most of the first-order methods.
        second_order_steps: updates at most of natural gradient and K-FAC, each of which costs far more.
        target: training loss to reach, as a fraction of that of the function that is zero.
        optimizers: which are compared.
        batch_size: examples an update for SGD and Adam; all if not given.
        momenta: μ that SGD is tuned over, with its learning rate.
        tuning_points: learning rates (for K-FAC dampings) a search begins with; it goes on where the best is at
            an end.
        max_parameters: networks with more are left out.
        loss: ``"squared"``, or ``"cross_entropy"``, for first-order methods only.
    """

    steps: int = Field(ge=1)
    second_order_steps: int = Field(ge=1)
    target: float = Field(default=0.01, gt=0, lt=1)
    optimizers: list[Method] = Field(default=list(METHODS), min_length=1)
    batch_size: int | None = Field(default=None, ge=1)
    momenta: list[float] = Field(default=[0.0, 0.9], min_length=1)
    tuning_points: int = Field(default=3, ge=2)
    max_parameters: int = Field(default=20_000, ge=1)
    loss: Literal["squared", "cross_entropy"] = "squared"

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        second_order = [name for name in self.optimizers if name not in FIRST_ORDER]
        if self.loss == "cross_entropy" and second_order:
            raise ValueError(
                f"the theory of natural gradient is about the squared loss, and so are {', '.join(second_order)}; "
                f"compare only {', '.join(FIRST_ORDER)} on cross_entropy, or use loss 'squared'"
            )
        if twice := sorted({name for name in self.optimizers if self.optimizers.count(name) > 1}):
            raise ValueError(f"every optimizer is run once; {', '.join(twice)} is listed more often")
        if any(not 0 <= momentum < 1 for momentum in self.momenta):
            raise ValueError(f"momenta must be at least 0 and below 1, got {self.momenta}")
        return self

    def describe(self) -> str:
        """Target, budgets and batches."""
        batches = f"batches of {self.batch_size}" if self.batch_size else "all examples at once"
        return (
            f" Optimizers compared: to {self.target:g} of the {self.loss.replace('_', '-')} loss of zero outputs, "
            f"up to {self.max_parameters} parameters, in at most {self.steps} steps of first-order methods and "
            f"{self.second_order_steps} of second-order ones; SGD (momentum "
            f"{' or '.join(f'{m:g}' for m in self.momenta)}) and Adam on {batches}."
        )
