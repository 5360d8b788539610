"""Tasks that are learned one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.data.dataset import Dataset
from ntkgap.errors import DataError

HEADS = ("single", "per_task")


@dataclass(frozen=True)
class Task:
    """One task of a stream.

    Attributes:
        name: what a reader calls it, like ``"45°"`` or ``"classes 2, 3"``.
        train: what is learned, x [n, ...] and y [n, c].
        test: what is asked, in the same form.
        columns: which c outputs of the network the targets are for, ascending; all networks of a stream have the
            same outputs, and a task with a head of its own uses only some of them.
    """

    name: str
    train: Dataset
    test: Dataset
    columns: tuple[int, ...]


@dataclass(frozen=True)
class TaskStream:
    """Tasks in the order in which they are learned; all of one input shape and one kind.

    Attributes:
        name: what a reader calls the stream.
        tasks: T of them, at least two.

    Raises:
        DataError: if there are fewer than two tasks, or their inputs differ in shape, or their targets do not go
            with their columns, or some tasks are classification and others regression.
    """

    name: str
    tasks: tuple[Task, ...]

    @classmethod
    def of(
        cls,
        datasets: Sequence[tuple[Dataset, Dataset]],
        names: Sequence[str] | None = None,
        heads: str = "single",
        name: str = "own tasks",
    ) -> "TaskStream":
        """Make a stream of one's own data.

        Args:
            datasets: (training set, test set) of each task, in the order of learning.
            names: what a reader calls the tasks; ``"task 0"`` and so on if not given.
            heads: ``"single"`` (all tasks use the same outputs; their targets have equally many columns) or
                ``"per_task"`` (each has outputs of its own).
            name: what a reader calls the stream.

        Raises:
            DataError: if there are fewer than two tasks, their shapes or kinds do not go together, a test set asks
                for a class that its training set does not show, or names are too few, too many or not different.
        """
        pairs = [tuple(pair) if isinstance(pair, tuple | list) else () for pair in datasets]
        for t, pair in enumerate(pairs):
            if len(pair) != 2 or not all(isinstance(part, Dataset) for part in pair):
                raise DataError(f"task {t} must be a pair of Datasets, (training set, test set)")
        called = [f"task {t}" for t in range(len(pairs))] if names is None else list(names)
        if len(called) != len(pairs) or len(set(called)) < len(called):
            raise DataError(f"{len(pairs)} tasks need {len(pairs)} different names, got {called}")
        if heads not in HEADS:
            raise DataError(f"unknown heads {heads!r}; choose 'single' or 'per_task'")
        tasks, first = [], 0
        for task_name, (train, test) in zip(called, pairs, strict=True):
            _check_classes(task_name, train, test)
            tasks.append(Task(task_name, train, test, tuple(range(first, first + train.n_outputs))))
            if heads == "per_task":
                first += train.n_outputs
            elif train.n_outputs != pairs[0][0].n_outputs:
                raise DataError(
                    f"task {task_name!r} has {train.n_outputs} targets an example, task {called[0]!r} has "
                    f"{pairs[0][0].n_outputs}; give all tasks the same columns, or heads='per_task'"
                )
        return cls(name, tuple(tasks))

    def __post_init__(self) -> None:
        if len(self.tasks) < 2:
            raise DataError(
                f"the stream {self.name!r} has {len(self.tasks)} task(s); forgetting takes at least two, one to "
                "forget and one to learn"
            )
        first = self.tasks[0]
        for task in self.tasks:
            self._check(task, first)

    def _check(self, task: Task, first: Task) -> None:
        for part, data in (("training", task.train), ("test", task.test)):
            if data.x.shape[1:] != first.train.x.shape[1:]:
                raise DataError(
                    f"task {task.name!r} has {part} inputs of shape {tuple(data.x.shape[1:])}, "
                    f"task {first.name!r} of shape {tuple(first.train.x.shape[1:])}; one network learns all "
                    "tasks: give them one shape"
                )
            if data.n_outputs != len(task.columns):
                raise DataError(
                    f"task {task.name!r} has {data.n_outputs} {part} targets an example, but is for "
                    f"{len(task.columns)} outputs of the network, {task.columns}"
                )
            if (data.n_classes is None) != (first.train.n_classes is None):
                raise DataError(
                    f"task {task.name!r} and task {first.name!r} are not of one kind, classification or regression"
                )
        if not task.columns or list(task.columns) != sorted(set(task.columns)) or task.columns[0] < 0:
            raise DataError(
                f"task {task.name!r} must name different outputs of the network, ascending from 0; "
                f"got {task.columns}"
            )

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def n_outputs(self) -> int:
        """Outputs C that a network for this stream needs."""
        return 1 + max(task.columns[-1] for task in self.tasks)

    @property
    def classification(self) -> bool:
        """Whether the tasks are scored by accuracy; else by explained variance."""
        return self.tasks[0].train.n_classes is not None

    @property
    def separate_heads(self) -> bool:
        """Whether no two tasks use the same output."""
        used = [column for task in self.tasks for column in task.columns]
        return len(used) == len(set(used))

    def template(self) -> Dataset:
        """A data set of the shapes that a network for this stream must have: the first task, all outputs."""
        train = self.tasks[0].train
        return Dataset(train.x, torch.zeros(len(train), self.n_outputs, dtype=train.y.dtype), train.n_classes)

    def to(self, dtype: torch.dtype) -> "TaskStream":
        """Cast inputs and targets of all tasks."""
        return TaskStream(
            self.name,
            tuple(Task(t.name, t.train.to(dtype), t.test.to(dtype), t.columns) for t in self.tasks),
        )


def _check_classes(name: str, train: Dataset, test: Dataset) -> None:
    """Refuse a test set with a class that the task's training set does not show.

    Raises:
        DataError: naming the task and the classes.
    """
    if train.n_classes is None or test.n_outputs != train.n_outputs:
        return
    shown, asked = (set(_classes(part).unique().tolist()) for part in (train, test))
    if missing := sorted(asked - shown):
        raise DataError(
            f"task {name!r} tests class {', '.join(map(str, missing))} (columns of y count from 0), of which its "
            "training set has no example; add some, or take the class out of its test set"
        )


def _classes(data: Dataset) -> Tensor:
    return (data.y[:, 0] > 0).long() if data.n_outputs == 1 else data.y.argmax(dim=1)


def score(outputs: Tensor, data: Dataset, columns: Sequence[int]) -> Tensor:
    r"""How good outputs are on a task: accuracy, or for regression the explained variance.

    .. math:: \frac1n \sum_i 1[\arg\max_c f_c(x_i) = \arg\max_c y_{ic}], \qquad
              1 - \frac{\sum_i \lVert f(x_i) - y_i \rVert^2}{\sum_i \lVert y_i - \bar y \rVert^2} .

    The largest output is sought among the task's own columns. Targets of one column are signs: the accuracy is
    that of the output's sign.

    Args:
        outputs: of the network, or of several, [..., n, C].
        data: inputs and targets of the task, y [n, c].
        columns: the c outputs that the task is about.

    Returns:
        The score, [...]; NaN where outputs are not finite.
    """
    found = outputs[..., list(columns)]
    y = data.y.to(found)
    if data.n_classes is None:
        spread = (y - y.mean(dim=0)).square().sum()
        scores = 1 - (found - y).square().sum(dim=(-2, -1)) / spread
    elif len(columns) == 1:
        scores = ((found > 0) == (y > 0)).to(found.dtype).mean(dim=(-2, -1))
    else:
        scores = (found.argmax(dim=-1) == y.argmax(dim=-1)).to(found.dtype).mean(dim=-1)
    finite = torch.isfinite(found).flatten(-2).all(dim=-1)
    return torch.where(finite, scores, torch.nan)
