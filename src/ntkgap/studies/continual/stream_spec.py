"""Which streams of tasks there are, by their settings."""

import json
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field

from ntkgap.data import TaskStream, load_stream
from ntkgap.studies.device import moved
from ntkgap.studies.spec import DataSpec, Spec

# Left out of cells where it is not asked for: those of older stores have no such key.
SameExamples = Annotated[bool, Field(exclude_if=lambda same: not same)]


class RotatedSpec(Spec):
    """Images, rotated a step further by every task.

    Attributes:
        kind: tells this kind of stream from others.
        tasks: T.
        angle: degrees from one task to the next; small is similar.
        same_examples: whether all tasks show the same examples, rotated; else each has its own.
    """

    kind: Literal["rotated"] = "rotated"
    tasks: int = Field(default=5, ge=2)
    angle: float = Field(default=22.5, ge=0, lt=360)
    same_examples: SameExamples = False


class PermutedSpec(Spec):
    """Images with their pixels in another order in every task but the first.

    Attributes:
        kind: tells this kind of stream from others.
        tasks: T.
        fraction: of the pixels that change places; small is similar.
        same_examples: whether all tasks show the same examples, permuted; else each has its own.
    """

    kind: Literal["permuted"] = "permuted"
    tasks: int = Field(default=5, ge=2)
    fraction: float = Field(default=1.0, ge=0, le=1)
    same_examples: SameExamples = False


class SplitSpec(Spec):
    """A few classes a task.

    Attributes:
        kind: tells this kind of stream from others.
        tasks: T; as many as the classes reach for if not given.
        classes_per_task: how many.
        overlap: how many of them the next task has too; many is similar.
        heads: ``"single"`` (one output a class of the stream), ``"shared"`` (all tasks use the same outputs) or
            ``"per_task"`` (each has outputs of its own).
        order: in which the classes come: ``"drawn"`` by the seed, or as they are ``"listed"``, ascending.
    """

    kind: Literal["split"] = "split"
    tasks: int | None = Field(default=None, ge=2)
    classes_per_task: int = Field(default=2, ge=2)
    overlap: int = Field(default=0, ge=0)
    heads: Literal["single", "shared", "per_task"] = "single"
    order: Literal["drawn", "listed"] = "drawn"


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


def load(data: DataSpec, stream: StreamSpec, seed: int) -> TaskStream:
    """The stream of a seed; the last few are kept.

    Raises:
        DataError: if data cannot be loaded, have changed since, or do not reach for the stream.
    """
    data.check_unchanged()
    return moved(_load(data.model_dump_json(), stream.model_dump_json(exclude_none=True), seed))


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
