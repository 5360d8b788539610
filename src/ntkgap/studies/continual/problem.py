"""What a continual-learning problem is: a stream of tasks, a network, and how it learns them."""

import json
import math
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from torch import Generator

from ntkgap.data import Dataset, TaskStream, load_stream
from ntkgap.data.arrays import own_names
from ntkgap.errors import NtkgapError
from ntkgap.models import learning_rate_factor
from ntkgap.practice.continual import Steps, train_tasks
from ntkgap.practice.losses import choose_loss
from ntkgap.studies.model import ModelSpec, OwnModel
from ntkgap.studies.problem import BaseProblem
from ntkgap.studies.spec import DataSpec, Spec
from ntkgap.studies.train_spec import TrainSpec

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class RotatedSpec(Spec):
    """Images, rotated a step further by every task.

    Attributes:
        kind: tells this kind of stream from others.
        tasks: T.
        angle: degrees from one task to the next; small is similar.
    """

    kind: Literal["rotated"] = "rotated"
    tasks: int = Field(default=5, ge=2)
    angle: float = Field(default=22.5, ge=0, lt=360)


class PermutedSpec(Spec):
    """Images with their pixels in another order in every task but the first.

    Attributes:
        kind: tells this kind of stream from others.
        tasks: T.
        fraction: of the pixels that change places; small is similar.
    """

    kind: Literal["permuted"] = "permuted"
    tasks: int = Field(default=5, ge=2)
    fraction: float = Field(default=1.0, ge=0, le=1)


class SplitSpec(Spec):
    """A few classes a task.

    Attributes:
        kind: tells this kind of stream from others.
        tasks: T; as many as the classes reach for if not given.
        classes_per_task: how many.
        overlap: how many of them the next task has too; many is similar.
        heads: ``"single"`` (one output a class of the stream), ``"shared"`` (all tasks use the same outputs) or
            ``"per_task"`` (each has outputs of its own).
    """

    kind: Literal["split"] = "split"
    tasks: int | None = Field(default=None, ge=2)
    classes_per_task: int = Field(default=2, ge=2)
    overlap: int = Field(default=0, ge=0)
    heads: Literal["single", "shared", "per_task"] = "single"


class TeachersSpec(Spec):
    """Regressions on the sphere whose targets drift away from each other; scores are explained variances.

    Attributes:
        kind: tells this kind of stream from others.
        tasks: T.
        similarity: correlation of the targets of two tasks in a row.
        dim: of the inputs.
        noise: standard deviation of what is added to the training targets.
        same_inputs: whether all tasks have the same inputs; else each has its own.
    """

    kind: Literal["teachers"] = "teachers"
    tasks: int = Field(default=5, ge=2)
    similarity: float = Field(default=0.5, ge=-1, le=1)
    dim: int = Field(default=10, ge=2)
    noise: float = Field(default=0.0, ge=0)
    same_inputs: bool = False


class TasksSpec(Spec):
    """One file of a user's own a task, in the order in which ``data`` names them.

    Attributes:
        kind: tells this kind of stream from others.
        heads: ``"single"`` (one output a label of any task) or ``"per_task"`` (each has outputs of its own).
    """

    kind: Literal["tasks"] = "tasks"
    heads: Literal["single", "per_task"] = "single"


StreamSpec = Annotated[
    RotatedSpec | PermutedSpec | SplitSpec | TeachersSpec | TasksSpec, Field(discriminator="kind")
]


class TrainingSpec(Spec):
    """How every task is learned.

    Attributes:
        optimizer: ``"gd"`` (which kernels predict), ``"sgd"`` or ``"adam"``.
        loss: ``"squared"`` (which kernels predict) or ``"cross_entropy"``, summed over examples.
        fraction_of_critical: of gradient descent: learning rate as a fraction of 2/κ_max of the task's kernel at
            the start.
        learning_rate: η of the other optimisers.
        momentum: of ``"sgd"``.
        batch_size: examples an update of ``"sgd"`` and ``"adam"``; all if not given.
        steps: the stopping times: numbers of updates a task, ascending; each is a training of its own.
    """

    optimizer: Literal["gd", "sgd", "adam"] = "gd"
    loss: Literal["squared", "cross_entropy"] = "squared"
    fraction_of_critical: float | None = Field(default=None, gt=0, lt=1)
    learning_rate: float | None = Field(default=None, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    batch_size: Count | None = None
    steps: list[Count] = Field(min_length=2)

    @field_validator("steps")
    @classmethod
    def _ascending(cls, steps: list[int]) -> list[int]:
        if steps != sorted(set(steps)):
            raise ValueError(f"stopping times must be ascending, got {steps}")
        return steps

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.optimizer == "gd" and (self.fraction_of_critical is None or self.learning_rate is not None):
            raise ValueError("optimizer 'gd' takes fraction_of_critical, and no learning_rate")
        if self.optimizer != "gd" and (self.learning_rate is None or self.fraction_of_critical is not None):
            raise ValueError(f"optimizer {self.optimizer!r} takes learning_rate, and no fraction_of_critical")
        if self.optimizer == "gd" and (self.batch_size is not None or self.momentum):
            raise ValueError("optimizer 'gd' takes all examples at once: no batch_size, no momentum")
        if self.optimizer == "gd" and self.loss != "squared":
            raise ValueError("the critical rate of optimizer 'gd' is one of the squared loss; use 'sgd' or 'adam'")
        return self

    @property
    def predictable(self) -> bool:
        """Whether kernels say what comes out."""
        return self.optimizer == "gd"


class MethodsSpec(Spec):
    """What is done against forgetting, beside plain training; all at the longest stopping time.

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


class ContinualProblem(BaseProblem):
    """Networks of one family that learn a stream of tasks.

    Attributes:
        data: images; ``n_train`` counts the training examples of *one task*.
        stream: what the tasks are.
        training: how each is learned, and for how long.
        methods: what is done against forgetting.
        kernels: what predicts: the ``"infinite"`` width, the kernel at the start (``"initial"``), or that at the
            start of every task (``"task_start"``).
        full_kernel: whether kernels of finite networks are taken for all pairs of outputs; if not, for the mean
            over outputs, which is their limit and cheap.
        linearized: whether the network's linearised twin learns the stream too, for as long as it takes most: the
            control whose kernel cannot move.
        probes: examples on which the movement of the kernel is measured.
        train: how a user trains, in place of ``training``; as that says if not given.
    """

    stream: StreamSpec
    training: TrainingSpec
    train: TrainSpec | None = None
    methods: MethodsSpec = MethodsSpec()
    kernels: list[Literal["infinite", "initial", "task_start"]] = Field(
        default=["infinite", "initial", "task_start"]
    )
    full_kernel: bool = True
    linearized: bool = False
    probes: int = Field(default=20, ge=2)

    @model_validator(mode="after")
    def _is_predictable(self) -> Self:
        if len(set(self.kernels)) < len(self.kernels):
            raise ValueError("kernels: one is named twice")
        if self.kernels and not self.training.predictable:
            raise ValueError("kernels predict gradient descent (optimizer 'gd') alone; leave kernels empty")
        if "infinite" in self.kernels and isinstance(self.model, ModelSpec) and not self.model.one_limit:
            raise ValueError(
                "the kernel of infinite width takes parametrization 'ntk' without gamma0; leave 'infinite' out of "
                "kernels"
            )
        if self.linearized and "initial" not in self.kernels:
            raise ValueError("linearized is the control of the kernel at the start; put 'initial' into kernels")
        if self.train is None and self.methods.ogd is not None and self.training.optimizer == "adam":
            raise ValueError("orthogonal gradients are bent by adam; use 'gd' or 'sgd', or leave ogd out")
        return self

    @model_validator(mode="after")
    def _own_training_fits(self) -> Self:
        if self.train is None:
            return self
        if self.train.fit is not None and getattr(self.stream, "heads", "single") == "per_task":
            raise ValueError(
                "a training function is given the data of one task, which do not say that tasks have outputs of "
                "their own"
            )
        idle = [axis for axis in (self.variations.axes if self.variations else ()) if axis.startswith("training.")]
        if idle:
            raise ValueError(f"own training is in place of {idle[0]}, which then varies nothing")
        return self

    def check(self) -> None:
        """As of any problem; of own training a step is tried."""
        super().check()
        if self.train is None:
            return
        stream = self.load(seed=0)
        choose_loss(self.train.objective, *(task.train for task in stream.tasks))
        if self.train.fit is not None:
            return
        for width in sorted(self.widths):
            try:
                network = self.network(stream.template(), width, Generator().manual_seed(0))
            except NtkgapError:  # a user's own may fail at some widths
                continue
            settings = self.train.settings(learning_rate_factor(network)) | {"stop": Steps(1)}
            settings.pop("steps")
            train_tasks([network], stream, **settings)
            return

    def load(self, seed: int) -> TaskStream:
        """The stream of a seed.

        Raises:
            DataError: if data cannot be loaded, or do not reach for the stream.
        """
        return load(self.data, self.stream, seed)

    def describe(self) -> str:
        """Stream, sizes and training."""
        training, steps = self.training, ", ".join(map(str, self.training.steps))
        source = "" if isinstance(self.stream, TeachersSpec) else f" of {self.data.label}"
        what = f"{describe_stream(self.stream)}{source}, {self.data.n_train} training examples a task"
        if self.train is not None:
            stops = ", ".join(map(str, self.train.stops))
            left = "" if self.train.fit else f" Tasks are left after {stops} steps."
            return f"{what}.{self.train.describe()}{left}"
        if training.optimizer == "gd":
            own = "each network's own kernel at its start"
            kernel = "infinite width" if "infinite" in self.kernels else own
            if "infinite" in self.kernels and isinstance(self.model, OwnModel):
                kernel += f" if that is known, else of {own}"
            how = f"gradient descent at {training.fraction_of_critical:g} times the critical rate of {kernel}"
        else:
            batch = f", batches of {training.batch_size}" if training.batch_size else ""
            how = f"{training.optimizer} at η = {training.learning_rate:g}{batch}"
        return f"{what}; {how}, stopped after {steps} steps a task."

    @property
    def own_code(self) -> dict[str | None, str]:
        """Of the network, and of the training."""
        return super().own_code | (self.train.own_code if self.train else {})

    @property
    def role(self) -> str:
        """The kind of stream."""
        return self.stream.kind

    def title(self, network: str, data: str) -> str:
        """The kind of stream comes first."""
        return f"{self.stream.kind} {data}, {network}"

    @classmethod
    def adapted(cls, settings: dict[str, Any], *, own_model: bool, own_data: bool) -> dict[str, Any]:
        """Several files are one a task."""
        if own_data and len(own_names(settings["data"]["name"])) > 1:
            heads = settings["stream"].get("heads", "single")
            settings = settings | {
                "stream": {"kind": "tasks", "heads": "per_task" if heads == "per_task" else "single"}
            }
        return settings

    @classmethod
    def alternatives(cls, settings: dict[str, Any]) -> list[dict[str, Any]]:
        """Of anything the order of entries can be permuted: of tables, and for regressions."""
        return [settings | {"stream": {"kind": "permuted", "tasks": settings["stream"].get("tasks") or 3}}]

    @classmethod
    def parts_of(cls, name: str) -> tuple[str, str]:
        """The network comes last."""
        data, _, network = name.rpartition(", ")
        return network, data

    def example(self, seed: int) -> Dataset:
        """A data set with the inputs of the first task and as many outputs as the stream needs."""
        return self.load(seed).template()

    @property
    def rows(self) -> int:
        """Of kernels of all points with a task's training set, about."""
        stream = self.load(seed=0)
        points = len(stream) * (self.data.n_train + self.data.n_test)
        return math.isqrt(points * self.data.n_train * (stream.n_outputs**2 if self.full_kernel else 1))


def load(data: DataSpec, stream: StreamSpec, seed: int) -> TaskStream:
    """The stream of a seed; the last few are kept.

    Raises:
        DataError: if data cannot be loaded, have changed since, or do not reach for the stream.
    """
    data.check_unchanged()
    return _load(data.model_dump_json(), stream.model_dump_json(exclude_none=True), seed)


@lru_cache(maxsize=4)
def _load(data_json: str, stream_json: str, seed: int) -> TaskStream:
    data = DataSpec.model_validate_json(data_json)
    options: dict[str, Any] = json.loads(stream_json)
    kind = options.pop("kind")
    name, located = data.located()
    return load_stream(kind, name, data.n_train, data.n_test, seed, **options, **located)


def describe_stream(stream: StreamSpec) -> str:
    """The stream in a few words."""
    if isinstance(stream, RotatedSpec):
        return f"{stream.tasks} rotations by {stream.angle:g}°"
    if isinstance(stream, PermutedSpec):
        return f"{stream.tasks} permutations of {stream.fraction:.0%} of the pixels"
    if isinstance(stream, TeachersSpec):
        return f"{stream.tasks} regressions on the sphere, correlation {stream.similarity:g} from one to the next"
    if isinstance(stream, TasksSpec):
        return "one file a task (one head a task)" if stream.heads == "per_task" else "one file a task (one head)"
    heads = {"single": "one head", "shared": "a shared head", "per_task": "one head a task"}[stream.heads]
    return f"tasks of {stream.classes_per_task} classes ({heads})"
