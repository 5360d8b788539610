"""The examples of which streams are made: raw, one draw for all tasks, and how networks are given them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ntkgap.data.arrays import check_regression_targets
from ntkgap.data.dataset import IMAGE_AXES, Dataset, check_flag, encode_classes, scale_inputs
from ntkgap.data.streams.stream import Task, TaskStream
from ntkgap.errors import DataError

LARGEST_COUNT = 10**9


@dataclass(frozen=True)
class Pool:
    """Examples as they are in the files.

    Attributes:
        x_train: inputs, [n, ...]; four axes are images, [n, C, H, W].
        y_train: number of each example's class, [n]; or targets of a regression, [n, C].
        x_test: inputs, [k, ...].
        y_test: in the form of y_train.
        classes: label of every class; None for a regression.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: Sequence[object] | None

    def shares(self, tasks: int, same: bool = False) -> list[Tensor]:
        """Which training examples each task gets: as many as any other, and some of every class.

        They are dealt out in the order of the draw. Its rounds of all classes begin and end inside tasks that are
        no multiples of a round, and a task of barely more examples than classes may miss some: only then does it
        exchange examples with tasks that have several.

        Args:
            tasks: T, which divide n.
            same: give all of them to every task.

        Returns:
            Indices of each task's examples, [n / T] each, or [n].

        Raises:
            DataError: if a task cannot have all classes.
        """
        labels = self.y_train
        if same:
            return self.shares(1) * tasks
        found = list(torch.arange(len(labels)).chunk(tasks))
        if self.classes is None:
            return found
        n_classes, size = len(self.classes), len(labels) // tasks
        counts = torch.stack([torch.bincount(labels[own], minlength=n_classes) for own in found])
        for t, c in (counts == 0).nonzero().tolist():
            giver, spare = int(counts[:, c].argmax()), int(counts[t].argmax())
            if size < n_classes or counts[giver, c] < 2:
                few = (
                    f"n_train={size} examples a task are too few for {n_classes} classes; give n_train of at "
                    f"least {n_classes}, or fewer tasks"
                    if size < n_classes
                    else f"only {int(counts[:, c].sum())} were drawn for {tasks} tasks; ask for fewer tasks, or "
                    "leave the class out of the data"
                )
                raise DataError(
                    f"task {t + 1} has no training example of class {self.classes[c]}, but is tested on it: {few}"
                )
            # The last of a class: methods that store the first examples of a task find them as they were.
            gets, gives = ((labels[found[u]] == k).nonzero()[-1, 0] for u, k in ((t, spare), (giver, c)))
            found[t][gets], found[giver][gives] = found[giver][gives].clone(), found[t][gets].clone()
            for u, more, less in ((t, c, spare), (giver, spare, c)):
                counts[u, more] += 1
                counts[u, less] -= 1
        return found


@dataclass(frozen=True)
class Appearance:
    """How examples are given to networks; the same for all tasks of a stream.

    Attributes:
        scaling: ``"standardize"`` (by mean and standard deviation of the first task's training inputs, of images
            by channel, of anything else by entry), ``"unit_norm"`` or ``"none"``.
        targets: of classes ``"one_hot"`` (if None), ``"plus_minus"`` or, for two of them, ``"sign"``; of a
            regression ``"standardize"`` (if None) or ``"none"``.
        flatten: vectors in place of images.
        shrink: s: every s × s pixels become their mean.
    """

    scaling: str = "standardize"
    targets: str | None = None
    flatten: bool = False
    shrink: int = 1

    def __post_init__(self) -> None:
        check_flag("flatten", self.flatten)
        check_count("shrink", self.shrink)

    def shrunk(self, x: Tensor) -> Tensor:
        """Inputs with every shrink × shrink pixels made one.

        Raises:
            DataError: if they are no images, or nothing is left of them.
        """
        if self.shrink == 1:
            return x
        if x.ndim != 4:
            raise DataError(
                f"shrink={self.shrink} takes the mean of neighboring pixels of images [n, C, H, W], but x has "
                f"shape {tuple(x.shape)}; leave shrink out"
            )
        side = min(x.shape[-2:])
        if self.shrink > side:
            raise DataError(f"shrink={self.shrink} leaves nothing of images with {side} pixels a side")
        return torch.nn.functional.avg_pool2d(x, self.shrink)

    def scaled(self, pool: Pool, first: Tensor) -> Pool:
        """The pool with its inputs scaled by those of the first task."""
        x_train, x_test = (self._scaled(first, x) for x in (pool.x_train, pool.x_test))
        return replace(pool, x_train=x_train, x_test=x_test)

    def encoded(self, y: Tensor, n_classes: int | None) -> Tensor:
        """Columns [n, C] of numbers of classes [n]; targets of a regression as they are."""
        return y if n_classes is None else encode_classes(y, n_classes, self.targets or "one_hot")

    def task(
        self, name: str, parts: Sequence[tuple[Tensor, Tensor]], n_classes: int | None, first: int = 0
    ) -> Task:
        """A task of raw inputs and targets.

        Args:
            name: of the task.
            parts: inputs and numbers of classes, or targets of a regression, for training and for test.
            n_classes: among how many classes the task tells; None for a regression.
            first: output of the network that is the first column of the targets.
        """
        train, test = (Dataset(x, self.encoded(y, n_classes), n_classes) for x, y in parts)
        return Task(name, train, test, tuple(range(first, first + train.n_outputs)))

    def stream(self, name: str, tasks: Sequence[Task]) -> TaskStream:
        """The stream of tasks of raw inputs and targets: scaled, in float32, and flat if asked."""
        first = tasks[0]

        def seen(task: Task, data: Dataset) -> Dataset:
            x, y = self._scaled(first.train.x, data.x), data.y
            if data.n_classes is None:  # a task with outputs of its own may have a unit of its own
                like = first if task.columns == first.columns else task
                check_regression_targets(self.targets)
                _, y = scale_inputs(like.train.y, y, self.targets or "standardize")
            return Dataset((x.flatten(1) if self.flatten else x).float(), y.float(), data.n_classes)

        return TaskStream(name, tuple(Task(t.name, seen(t, t.train), seen(t, t.test), t.columns) for t in tasks))

    def _scaled(self, first: Tensor, x: Tensor) -> Tensor:
        return scale_inputs(first, x, self.scaling, IMAGE_AXES if x.ndim == 4 else (0,))[1]


def check_count(name: str, value: object, least: int = 1) -> None:
    """Refuse what is no integer of at least so much, or more than any stream has.

    Raises:
        DataError: naming the option.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_COUNT:
        raise DataError(f"{name} must be an integer from {least} to {LARGEST_COUNT}, got {value!r}")


def check_number(name: str, value: object, low: float, high: float, meaning: str) -> None:
    """Refuse what is no finite number from one to another, both allowed.

    Raises:
        DataError: naming the option.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        raise DataError(f"{name} must be a number from {low:g} to {high:g}, {meaning}; got {value!r}")
