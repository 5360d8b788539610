"""A few classes a task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntkgap.data.sampling import class_balanced_order
from ntkgap.data.streams.pool import Appearance, check_count
from ntkgap.data.streams.sources import even_shares, source_of
from ntkgap.data.streams.stream import Task, TaskStream
from ntkgap.errors import DataError

HEADS = ("single", "shared", "per_task")
ORDERS = ("listed", "drawn")

# Tells the draw of classes from those of tasks, of which there are fewer.
CLASSES = 2**31


def split(
    data: Any = "digits",
    n_train: int = 100,
    n_test: int = 100,
    seed: int = 0,
    *,
    tasks: int | None = None,
    classes_per_task: int = 2,
    overlap: int = 0,
    heads: str = "single",
    classes: Sequence[object] | None = None,
    order: str = "listed",
    scaling: str = "standardize",
    targets: str = "one_hot",
    flatten: bool = False,
    shrink: int = 1,
    root: object = None,
    target: str | None = None,
) -> TaskStream:
    """Task t is to tell a few classes apart; then come the next ones.

    Every training example belongs to one task alone, also where tasks share classes. The first k examples of a
    task are as balanced as its whole: methods that store a few of them store some of every class.

    Args:
        data: ``"digits"``, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``; or one's own examples of classes, as
            ``load_data`` takes them: ``"mine.npz"``, ``"mine.csv"`` with ``target=``, a pair (x, y) and the like.
        n_train: training examples a task, as many of each class as of the others.
        n_test: test examples a task.
        seed: of the draw.
        tasks: T; as many as the classes reach for if not given.
        classes_per_task: how many.
        overlap: how many of its classes a task shares with the next; fewer than it has.
        heads: ``"single"``: one output for every class of the stream, so that a task must also not take its images
            for those of other tasks; ``"shared"``: as many outputs as a task has classes, used by all tasks in
            turn; ``"per_task"``: so many for every task alone.
        classes: labels in the order in which they come, such as ``["cat", "dog"]``; all of them, ascending, if not
            given. A class that is left out is in no task.
        order: ``"listed"``: classes come as they are listed; ``"drawn"``: in an order drawn by the seed.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``.
        targets: ``"one_hot"``, ``"plus_minus"`` or, for tasks of two classes that do not share one head for all
            classes, ``"sign"``.
        flatten: vectors in place of images or sequences.
        shrink: of images, every shrink × shrink pixels become their mean.
        root: the folder with named data.
        target: the column of labels, where data are a table of one's own.

    Raises:
        DataError: if data have no classes, a number is out of range, classes do not reach, or there are too few
            examples of one.
    """
    check_count("n_train", n_train, classes_per_task if isinstance(classes_per_task, int) else 1)
    check_count("n_test", n_test)
    source = source_of(data, root, target)
    if source.classes is None:
        raise DataError(
            f"{source.name} has floating-point targets, of a regression, but tasks are split by classes; store "
            "labels as whole numbers or text, or choose the kind 'permuted' or 'tasks'"
        )
    if order not in ORDERS:
        raise DataError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
    chosen_classes = _chosen(classes, source.classes)
    if order == "drawn":  # by a source of its own: which examples are drawn does not depend on it
        chosen_classes = np.random.default_rng([seed, CLASSES]).permutation(chosen_classes).tolist()
    groups = _groups(tasks, classes_per_task, overlap, chosen_classes)
    if heads not in HEADS:
        raise DataError(f"heads must be one of {', '.join(HEADS)}, got {heads!r}")
    look = Appearance(scaling, targets, flatten, shrink)
    used = list(dict.fromkeys(c for group in groups for c in group))
    pool = source.draw_groups(groups, n_train, n_test, seed)
    x_train, x_test = look.shrunk(pool.x_train), look.shrunk(pool.x_test)
    taken = dict.fromkeys(used, 0)
    found: list[Task] = []
    for t, group in enumerate(groups):
        counts = even_shares(n_train, classes_per_task)
        train = torch.cat(
            [_members(pool.y_train, c, taken[c], k, "training") for c, k in zip(group, counts, strict=True)]
        )
        for c, k in zip(group, counts, strict=True):
            taken[c] += k
        shares = even_shares(n_test, classes_per_task)
        test = torch.cat([_members(pool.y_test, c, 0, k, "test") for c, k in zip(group, shares, strict=True)])
        rng = np.random.default_rng([seed, t])
        train, test = (
            chosen[class_balanced_order(labels[chosen].numpy(), rng)]
            for chosen, labels in ((train, pool.y_train), (test, pool.y_test))
        )
        own = used if heads == "single" else group
        position = {c: i for i, c in enumerate(own)}
        parts = (
            (x_train[train], _positions(pool.y_train[train], position)),
            (x_test[test], _positions(pool.y_test[test], position)),
        )
        first = found[-1].columns[-1] + 1 if heads == "per_task" and found else 0
        name = f"classes {', '.join(str(source.classes[c]) for c in group)}"
        found.append(look.task(name, parts, len(own), first))
    return look.stream(f"split {Path(source.name).name}", found)


def _chosen(classes: Sequence[object] | None, known: Sequence[object]) -> list[int]:
    """Numbers of the classes that are named, in their order.

    Raises:
        DataError: if one is not in the data, or is named twice.
    """
    if classes is None:
        return list(range(len(known)))
    found = []
    if isinstance(classes, Sequence) and not isinstance(classes, str):
        plain = [c.item() if isinstance(c, np.generic) else c for c in classes]
        # True is no 1, and 1.0 is no label.
        found = [i for c in plain for i, k in enumerate(known) if type(c) is type(k) and c == k]
    if not found or len(found) < len(classes) or len(set(found)) < len(found):
        some = [*map(repr, known[:10]), *(["…"] if len(known) > 10 else [])]
        raise DataError(f"classes must be different labels of the data, {', '.join(some)}; got {classes!r}")
    return found


def _groups(tasks: int | None, classes_per_task: int, overlap: int, order: list[int]) -> list[list[int]]:
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
    step = classes_per_task - overlap
    reach = (len(order) - overlap) // step
    if tasks is not None:
        check_count("tasks", tasks, 2)
    if reach < (tasks or 2):
        raise DataError(
            f"{len(order)} classes reach for {max(reach, 0)} tasks of {classes_per_task} classes with an overlap "
            f"of {overlap}, not for {tasks or 2}"
        )
    return [order[t * step : t * step + classes_per_task] for t in range(tasks or reach)]


def _members(labels: Tensor, c: int, start: int, count: int, what: str) -> Tensor:
    """Indices of some images of a class.

    Raises:
        DataError: if there are too few.
    """
    found = (labels == c).nonzero()[start : start + count, 0]
    if len(found) < count:
        raise DataError(
            f"there are too few {what} images of class {c}: {start + count} are needed; ask for fewer, or leave "
            "the class out with classes="
        )
    return found


def _positions(labels: Tensor, position: dict[int, int]) -> Tensor:
    return torch.tensor([position[int(label)] for label in labels])
