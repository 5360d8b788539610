"""Tasks that are learned one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.data.dataset import Dataset
from ntkgap.errors import DataError
from ntkgap.one_line import line_of


@dataclass(frozen=True)
class Task:
    """One task of a stream.

    Attributes:
        name: what a reader calls it, like ``"45°"`` or ``"classes 2, 3"``.
        train: what is learned, x [n, ...] and y [n, c].
        test: what is asked, in the same form.
        columns: which c outputs of the network the targets are for, ascending; all networks of a stream have the
            same outputs, and a task with a head of its own uses only some of them.

    Example:
        >>> stream = ng.continual.load_stream("rotated", "digits", n_train=10, n_test=10, tasks=2, angle=45)
        >>> stream.tasks[1].name, stream.tasks[1].train.x.shape
        ('45°', torch.Size([10, 1, 8, 8]))
    """

    name: str
    train: Dataset
    test: Dataset
    columns: tuple[int, ...]

    def __repr__(self) -> str:
        outputs = f"outputs {self.columns[0]} to {self.columns[-1]}"
        return f"Task({self.name!r}, {len(self.train)} training and {len(self.test)} test examples, {outputs})"


@dataclass(frozen=True)
class TaskStream:
    """Tasks in the order in which they are learned; all of one input shape and one kind.

    Attributes:
        name: what a reader calls the stream.
        tasks: T of them, at least two.

    Raises:
        DataError: if there are fewer than two tasks, or their inputs differ in shape, or their targets do not go
            with their columns, or some tasks are classification and others regression, or all test targets of a
            regression are the same, so that there is no variance to explain.

    Example:
        >>> stream = ng.continual.load_stream("permuted", "digits", n_train=10, n_test=10, tasks=3)
        >>> len(stream.tasks), stream.n_outputs, stream.classification
        (3, 10, True)
    """

    name: str
    tasks: tuple[Task, ...]

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
        if task.test.n_classes is None and bool((task.test.y == task.test.y[:1]).all()):
            raise DataError(
                f"task {task.name!r} has the same test targets for all {len(task.test)} test examples; a "
                "regression is scored by how much of their variance it explains: give test examples whose targets "
                "differ"
            )
        if not task.columns or list(task.columns) != sorted(set(task.columns)) or task.columns[0] < 0:
            raise DataError(
                f"task {task.name!r} must name different outputs of the network, ascending from 0; "
                f"got {task.columns}"
            )

    def __repr__(self) -> str:
        names = [task.name for task in self.tasks]
        shown = ", ".join(names if len(names) <= 4 else [names[0], "…", names[-1]])
        return line_of(self, repr(self.name), f"{len(self)} tasks: {shown}", repr(self.tasks[0].train))

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
        # Ones: a column of zeros is no column of signs.
        return Dataset(train.x, train.y.new_ones(len(train), self.n_outputs), train.n_classes)

    def to(self, to: torch.dtype | torch.device | str) -> "TaskStream":
        """Cast inputs and targets of all tasks to a type, or move them to a device."""
        return TaskStream(
            self.name,
            tuple(Task(t.name, t.train.to(to), t.test.to(to), t.columns) for t in self.tasks),
        )


def score(outputs: Tensor, data: Dataset, columns: Sequence[int]) -> Tensor:
    r"""How good outputs are on a task: accuracy, or for regression the explained variance.

    .. math:: \frac1n \sum_i 1[\arg\max_c f_c(x_i) = \arg\max_c y_{ic}], \qquad
              1 - \frac{\sum_i \lVert f(x_i) - y_i \rVert^2}{\sum_i \lVert y_i - \bar y \rVert^2} .

    The largest output is sought among the task's own columns. Targets of one column are signs: the accuracy is
    that of the output's sign. Where outputs tie, as all do of a network that starts at zero, an example counts as
    much as choosing among them at random would get right on average.

    Args:
        outputs: of the network, or of several, [..., n, C].
        data: inputs and targets of the task, y [n, c].
        columns: the c outputs that the task is about.

    Returns:
        The score, [...], float64; NaN where outputs are not finite.
    """
    found = outputs[..., list(columns)].double()
    y = data.y.to(found)
    if data.n_classes is None:
        spread = (y - y.mean(dim=0)).square().sum()
        scores = 1 - (found - y).square().sum(dim=(-2, -1)) / spread
    elif len(columns) == 1:
        right = torch.where(found == 0, 0.5, ((found > 0) == (y > 0)).double())
        scores = right.mean(dim=(-2, -1))
    else:
        tied = (found == found.amax(dim=-1, keepdim=True)).double()
        true = y.argmax(dim=-1, keepdim=True).expand(*found.shape[:-1], 1)
        scores = (tied.gather(-1, true)[..., 0] / tied.sum(dim=-1)).mean(dim=-1)
    finite = torch.isfinite(found).flatten(-2).all(dim=-1)
    return torch.where(finite, scores, torch.nan)
