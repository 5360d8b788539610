"""A few classes a task."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ntkgap.data.sampling import class_balanced_order
from ntkgap.data.streams.pool import N_CLASSES, Appearance, check_count
from ntkgap.data.streams.stream import TaskStream
from ntkgap.errors import DataError

HEADS = ("single", "shared", "per_task")


def split(
    data: str = "digits",
    n_train: int = 100,
    n_test: int = 100,
    seed: int = 0,
    *,
    tasks: int | None = None,
    classes_per_task: int = 2,
    overlap: int = 0,
    heads: str = "single",
    classes: Sequence[int] | None = None,
    scaling: str = "standardize",
    targets: str = "one_hot",
    flatten: bool = False,
    shrink: int = 1,
    root: object = None,
) -> TaskStream:
    """Task t is to tell a few classes apart; then come the next ones.

    Every training image belongs to one task alone, also where tasks share classes. The first k examples of a task
    are as balanced as its whole: methods that store a few of them store some of every class.

    Args:
        data: ``"digits"``, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        n_train: training images a task, as many of each class as of the others.
        n_test: test images a task.
        seed: of the draw.
        tasks: T; as many as the classes reach for if not given.
        classes_per_task: how many.
        overlap: how many of its classes a task shares with the next; fewer than it has.
        heads: ``"single"``: one output for every class of the stream, so that a task must also not take its images
            for those of other tasks; ``"shared"``: as many outputs as a task has classes, used by all tasks in
            turn; ``"per_task"``: so many for every task alone.
        classes: the order of classes; 0, 1, …, 9 if not given.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``.
        targets: ``"one_hot"`` or ``"plus_minus"``.
        flatten: vectors in place of images.
        shrink: every shrink × shrink pixels become their mean.
        root: the folder with data.

    Raises:
        DataError: if a number is out of range, classes do not reach, or there are too few images of one.
    """
    check_count("n_train", n_train, classes_per_task if isinstance(classes_per_task, int) else 1)
    check_count("n_test", n_test)
    groups = _groups(tasks, classes_per_task, overlap, classes)
    if heads not in HEADS:
        raise DataError(f"heads must be one of {', '.join(HEADS)}, got {heads!r}")
    look = Appearance(scaling, targets, flatten, shrink, root)
    used = list(dict.fromkeys(c for group in groups for c in group))
    most = max(sum(c in group for group in groups) for c in used)
    a_class = -(-n_train // classes_per_task)
    # In a balanced draw each class comes up equally often, whether it is used or not.
    pool = look.pool(
        data,
        N_CLASSES * most * a_class,
        N_CLASSES * -(-n_test // classes_per_task),
        seed,
        f"{len(groups)} tasks of {n_train} training and {n_test} test images of {classes_per_task} classes",
    )
    taken = dict.fromkeys(used, 0)
    found = []
    for t, group in enumerate(groups):
        counts = _shares(n_train, classes_per_task)
        train = torch.cat(
            [_members(pool.labels_train, c, taken[c], k, "training") for c, k in zip(group, counts, strict=True)]
        )
        for c, k in zip(group, counts, strict=True):
            taken[c] += k
        shares = _shares(n_test, classes_per_task)
        test = torch.cat([_members(pool.labels_test, c, 0, k, "test") for c, k in zip(group, shares, strict=True)])
        rng = np.random.default_rng([seed, t])
        train, test = (
            chosen[class_balanced_order(labels[chosen].numpy(), rng)]
            for chosen, labels in ((train, pool.labels_train), (test, pool.labels_test))
        )
        columns, position = _columns(heads, t, group, used)
        parts = (
            (pool.x_train[train], _positions(pool.labels_train[train], position)),
            (pool.x_test[test], _positions(pool.labels_test[test], position)),
        )
        found.append(look.task(f"classes {', '.join(map(str, group))}", parts, columns))
    return look.stream(f"split {data}", found)


def _groups(
    tasks: int | None, classes_per_task: int, overlap: int, classes: Sequence[int] | None
) -> list[list[int]]:
    """The classes of every task.

    Raises:
        DataError: if a number is out of range or there are fewer classes.
    """
    check_count("classes_per_task", classes_per_task, 2)
    check_count("overlap", overlap, 0)
    if overlap >= classes_per_task:
        raise DataError(
            f"overlap={overlap} must be less than classes_per_task={classes_per_task}, or no task is new"
        )
    order = list(range(N_CLASSES)) if classes is None else classes
    are_classes = isinstance(order, Sequence) and all(
        isinstance(c, int) and not isinstance(c, bool) and 0 <= c < N_CLASSES for c in order
    )
    if not are_classes or len(set(order)) < len(order):
        raise DataError(f"classes must be different integers from 0 to {N_CLASSES - 1}, got {classes!r}")
    step = classes_per_task - overlap
    reach = (len(order) - overlap) // step
    if tasks is not None:
        check_count("tasks", tasks, 2)
    if reach < (tasks or 2):
        raise DataError(
            f"{len(order)} classes reach for {max(reach, 0)} tasks of {classes_per_task} classes with an "
            f"overlap of "
            f"{overlap}, not for {tasks or 2}"
        )
    return [list(order[t * step : t * step + classes_per_task]) for t in range(tasks or reach)]


def _shares(n: int, parts: int) -> list[int]:
    """So many in parts that differ by one at most."""
    return [n // parts + (i < n % parts) for i in range(parts)]


def _members(labels: Tensor, c: int, start: int, count: int, what: str) -> Tensor:
    """Indices of some images of a class.

    Raises:
        DataError: if there are too few.
    """
    found = (labels == c).nonzero()[start : start + count, 0]
    if len(found) < count:
        raise DataError(
            f"there are too few {what} images of class {c}: {start + count} are needed; ask for fewer, or leave "
            f"the "
            "class out with classes="
        )
    return found


def _columns(heads: str, t: int, group: list[int], used: list[int]) -> tuple[range, dict[int, int]]:
    """Outputs of a task, and the place of every class among them."""
    if heads == "single":
        return range(len(used)), {c: used.index(c) for c in group}
    first = t * len(group) if heads == "per_task" else 0
    return range(first, first + len(group)), {c: i for i, c in enumerate(group)}


def _positions(labels: Tensor, position: dict[int, int]) -> Tensor:
    return torch.tensor([position[int(label)] for label in labels])
