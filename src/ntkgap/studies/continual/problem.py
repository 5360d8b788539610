"""What a continual-learning problem is: a stream of tasks, a network, and how it learns them."""

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ntkgap.data import Dataset, TaskStream
from ntkgap.data.arrays import own_names
from ntkgap.models import learning_rate_factor
from ntkgap.practice.continual import Steps, train_tasks
from ntkgap.practice.training.losses import choose_loss
from ntkgap.studies.continual.stream_spec import StreamSpec, TeachersSpec, describe_stream, load
from ntkgap.studies.continual.task_kernels import FEW
from ntkgap.studies.continual.training_spec import MethodsSpec, TrainingSpec
from ntkgap.studies.model import ModelSpec, OwnModel
from ntkgap.studies.problem import BaseProblem
from ntkgap.studies.train_spec import TrainSpec


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
        linearized: whether the network's linearized model learns the stream too, for as long as it takes most: the
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
                "the kernel of infinite width takes parametrization 'ntk' without gamma0 or batch statistics; "
                "leave 'infinite' out of kernels"
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

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        if self.train is None and (self.training.batch_size or 0) > self.data.n_train:
            raise ValueError(
                f"batch_size {self.training.batch_size} is larger than the {self.data.n_train} training examples "
                "of a task"
            )
        return self

    @property
    def stops(self) -> list[int]:
        """The training budgets, in updates a task; a training function counts as one."""
        return self.training.stops(self.data.n_train) if self.train is None else self.train.stops

    def check(self) -> None:
        """As of any problem; of own training a step is tried."""
        super().check()
        if self.train is None:
            return
        stream = self.load(seed=0)
        choose_loss(self.train.objective, *(task.train for task in stream.tasks))
        network = self.narrowest(stream.template())
        if self.train.fit is None and network is not None:
            settings = self.train.settings(learning_rate_factor(network)) | {"stop": Steps(1)}
            settings.pop("steps")
            train_tasks([network], stream, **settings)

    def load(self, seed: int) -> TaskStream:
        """The stream of a seed.

        Raises:
            DataError: if data cannot be loaded, or do not reach for the stream.
        """
        return load(self.data, self.stream, seed)

    def describe(self) -> str:
        """Stream, sizes and training."""
        source = "" if isinstance(self.stream, TeachersSpec) else f" of {self.data.label}"
        what = f"{describe_stream(self.stream)}{source}, {self.data.n_train} training examples a task"
        if self.train is not None:
            left = "" if self.train.fit else f" Tasks are left after {', '.join(map(str, self.stops))} steps."
            return f"{what}.{self.train.describe()}{left}"
        return f"{what}; {self._describe_training()}, {self.training.describe_stops()}."

    def _describe_training(self) -> str:
        """Optimizer, learning rate and batches."""
        training = self.training
        name = "gradient descent" if training.optimizer == "gd" else training.optimizer
        batch = f", batches of {training.batch_size}" if training.batch_size else ""
        if training.rule == "constant":
            return f"{name} at η = {training.learning_rate:g}, the same at every width{batch}"
        if training.rule == "inverse_width":
            return f"{name} at η = {training.learning_rate:g} · {training.at_width}/width{batch}"
        own = "each network's own kernel at its start"
        kernel = "infinite width" if "infinite" in self.kernels else own
        if "infinite" in self.kernels and isinstance(self.model, OwnModel):
            kernel += f" if that is known, else of {own}"
        return f"{name} at {training.fraction_of_critical:g} times the critical rate of {kernel}{batch}"

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
        """Of a square matrix as large as the largest kernel that is asked for."""
        stream = self.load(seed=0)
        entries = [self.probes**2]
        if "infinite" in self.kernels:
            entries.append((len(stream) * (self.data.n_train + self.data.n_test)) ** 2)
        if self._own_kernels:
            each = stream.n_outputs**2 if self.full_kernel else 1
            at_once = len(stream) if self.full_kernel and stream.n_outputs <= FEW else 1
            entries.append(self.differentiated * at_once * self.data.n_train * each)
        return math.isqrt(max(entries))

    @property
    def differentiated(self) -> int:
        """All points where kernels of networks are formed on them, or the training inputs; else the probes."""
        if not self._own_kernels:
            return self.probes
        stream = self.load(seed=0)
        on_all = not self.full_kernel or stream.n_outputs <= FEW
        return len(stream) * (self.data.n_train + (self.data.n_test if on_all else 0))

    @property
    def _own_kernels(self) -> bool:
        return bool({"initial", "task_start"} & set(self.kernels))
