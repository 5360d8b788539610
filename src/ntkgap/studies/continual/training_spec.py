"""How every task is learned, and what is done against forgetting."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ntkgap.studies.spec import Spec

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Score = Annotated[float, Field(gt=0, le=1)]
RateByWidth = Literal["fraction_of_critical", "constant", "inverse_width"]


class TrainingSpec(Spec):
    """How every task is learned.

    Training budgets are numbers of updates or of passes over a task's examples; each is a training of its own.
    Beside them tasks are learned until their training set has a score, for comparisons at matched training.

    Attributes:
        optimizer: ``"gd"`` (which kernels predict), ``"sgd"`` or ``"adam"``.
        loss: ``"squared"`` (which kernels predict) or ``"cross_entropy"``, summed over examples.
        rate_by_width: how the learning rate goes with width: ``"fraction_of_critical"`` of the task's kernel,
            ``"constant"``, or ``"inverse_width"``, as 1/width; if not given the first of ``"gd"``, else the
            second.
        fraction_of_critical: learning rate as a fraction of 2/κ_max of the task's kernel at the start.
        learning_rate: η; by ``"inverse_width"`` that at the width ``at_width``.
        at_width: of ``"inverse_width"``: where the rate is ``learning_rate``.
        momentum: of ``"sgd"``.
        batch_size: examples an update of ``"sgd"`` and ``"adam"``; all if not given.
        steps: training budgets in updates a task, ascending.
        epochs: training budgets in passes over a task's training set, ascending, in place of steps.
        accuracies: training scores, ascending, at which tasks are left; within the largest training budget.
    """

    optimizer: Literal["gd", "sgd", "adam"] = "gd"
    loss: Literal["squared", "cross_entropy"] = "squared"
    rate_by_width: RateByWidth | None = None
    fraction_of_critical: float | None = Field(default=None, gt=0, lt=1)
    learning_rate: float | None = Field(default=None, gt=0)
    at_width: Count | None = None
    momentum: float = Field(default=0.0, ge=0, lt=1)
    batch_size: Count | None = None
    steps: list[Count] | None = Field(default=None, min_length=2)
    epochs: list[Count] | None = Field(default=None, min_length=2)
    accuracies: list[Score] = Field(default=[])

    @model_validator(mode="after")
    def _stops_ascend(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("training budgets are numbers of steps or of epochs: give one of both lists")
        for name in ("steps", "epochs", "accuracies"):
            stops = getattr(self, name) or []
            if repeated := [stop for i, stop in enumerate(stops) if stop in stops[:i]]:
                raise ValueError(f"{name} must name every stop once, and {repeated[0]:g} is there twice")
            if stops != sorted(stops):
                raise ValueError(f"{name} must be ascending, got {stops}")
        return self

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        rule = self.rule
        needed = {
            "fraction_of_critical": ("fraction_of_critical",),
            "constant": ("learning_rate",),
            "inverse_width": ("learning_rate", "at_width"),
        }[rule]
        numbers = ("fraction_of_critical", "learning_rate", "at_width")
        idle = [name for name in numbers if name not in needed and getattr(self, name) is not None]
        missing = [name for name in needed if getattr(self, name) is None]
        # Where a rule is named, the numbers of others may stand beside its own: the rule can then be varied.
        if missing or (idle and self.rate_by_width is None):
            by = f"rate_by_width {rule!r}" if self.rate_by_width else f"optimizer {self.optimizer!r}"
            unwanted = "" if self.rate_by_width or not idle else f", and no {', '.join(idle)}"
            raise ValueError(f"{by} takes {' and '.join(needed)}{unwanted}")
        if self.optimizer == "adam" and rule == "fraction_of_critical":
            raise ValueError("steps of 'adam' do not grow with the kernel: it has no critical rate")
        if self.optimizer == "gd" and (self.batch_size is not None or self.momentum):
            raise ValueError("optimizer 'gd' takes all examples at once: no batch_size, no momentum")
        if self.optimizer == "gd" and self.loss != "squared":
            raise ValueError("the critical rate of optimizer 'gd' is one of the squared loss; use 'sgd' or 'adam'")
        return self

    @property
    def rule(self) -> RateByWidth:
        """How the learning rate goes with width."""
        return self.rate_by_width or ("fraction_of_critical" if self.optimizer == "gd" else "constant")

    @property
    def predictable(self) -> bool:
        """Whether kernels say what comes out."""
        return self.optimizer == "gd"

    def rate_at(self, width: int) -> float:
        """η of a rule that does not ask for a kernel."""
        assert self.learning_rate is not None  # as the rule takes it
        shrunk = (self.at_width or width) / width if self.rule == "inverse_width" else 1.0
        return self.learning_rate * shrunk

    def in_a_pass(self, examples: int) -> int:
        """Updates of one pass over a task's examples; what does not fill a batch is left out."""
        return examples // (self.batch_size or examples)

    def stops(self, examples: int) -> list[int]:
        """The training budgets in updates, of tasks of so many examples."""
        return self.steps or [epochs * self.in_a_pass(examples) for epochs in self.epochs or []]

    def describe_stops(self) -> str:
        """The training budgets in words."""
        unit, stops = ("steps", self.steps) if self.steps else ("epochs", self.epochs)
        until = ", ".join(f"{accuracy:.4g}" for accuracy in self.accuracies)
        beside = f", and at training scores of {until}" if until else ""
        return f"stopped after {', '.join(map(str, stops or []))} {unit} a task{beside}"


class MethodsSpec(Spec):
    """What is done against forgetting, beside plain training; all with the largest training budget.

    Attributes:
        joint: whether all tasks are also learned at once: what forgets nothing.
        ogd: orthogonal gradient descent: stored examples a task; their outputs' gradients are left alone.
        ogd_directions: of ``"all"`` their outputs, or of the one of their ``"label"``, which is cheaper.
        ewc: elastic weight consolidation: λ.
        replay: stored examples a task, rehearsed with every step.
    """

    joint: bool = False
    ogd: Count | None = None
    ogd_directions: Literal["all", "label"] = "all"
    ewc: Positive | None = None
    replay: Count | None = None
