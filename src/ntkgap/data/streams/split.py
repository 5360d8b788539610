"""A few classes a task."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ntkgap.data.dataset import Dataset, encode_classes
from ntkgap.data.images import N_CLASSES
from ntkgap.data.sampling import check_sizes, class_balanced_order
from ntkgap.data.streams.options import check_count
from ntkgap.data.streams.pictures import Pictures, as_vectors, draw, scale_together
from ntkgap.data.streams.stream import HEADS, Task, TaskStream
from ntkgap.errors import DataError


def split_classes(
    data: str = "digits",
    n_train: int = 100,
    n_test: int = 300,
    seed: int = 0,
    *,
    tasks: int | None = None,
    classes_per_task: int = 2,
    overlap: int = 0,
    heads: str = "single",
    classes: Sequence[int] | None = None,
    scaling: str = "standardize",
    targets: str = "one_hot",
    flatten: bool | None = None,
    root: str | Path | None = None,
) -> TaskStream:
    """Tasks that each tell a few classes apart, taken from the classes in their order.

    A class that two tasks share has other training images in each. The test images are drawn once for all classes
    of the stream; a task is asked those of its own classes.
    (Split MNIST: Zenke, Poole, Ganguli, *Continual learning through synaptic intelligence*, 2017; the three kinds
    of heads: van de Ven, Tolias, *Three scenarios for continual learning*, 2019.)

    Args:
        data: ``"digits"``, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        n_train: number of training images of one task, balanced over its classes.
        n_test: number of test images, balanced over all classes of the stream.
        seed: the same seed gives the same stream.
        tasks: T; as many as the classes reach for if not given.
        classes_per_task: how many, at least 2.
        overlap: how many classes a task has in common with the one before, fewer than it has.
        heads: ``"single"`` (one output for every class of the stream: class-incremental learning), ``"shared"``
            (all tasks use the same outputs in turn, the first for the task's first class and so on:
            domain-incremental), or ``"per_task"`` (each task has outputs of its own: task-incremental).
        classes: from which classes, in this order; 0 … 9 if not given.
        scaling: ``"standardize"`` (each channel by one mean and standard deviation, those of the first task's
            training images, for all tasks), ``"unit_norm"`` (each image to norm 1), or ``"none"`` (as read).
        targets: ``"one_hot"``, ``"plus_minus"`` or, for two classes that have outputs of their own, ``"sign"``.
        flatten: whether to give vectors [n, C·H·W] in place of images [n, C, H, W]; if not given, as ``load_data``
            does: vectors for the digits, else images.
        root: the folder with data; if not given, ``$NTKGAP_DATA``, then the user's data directory.

    Raises:
        DataError: if a number is out of range, a class is missing or has too few images, or an option is unknown.
    """
    check_sizes(n_train, n_test)
    if heads not in (*HEADS, "shared"):
        raise DataError(f"unknown heads {heads!r}; choose 'single', 'shared' or 'per_task'")
    groups = class_groups(_check_order(classes), tasks, classes_per_task, overlap)
    if n_train < classes_per_task:
        raise DataError(
            f"n_train={n_train} images leave class {groups[0][n_train]} out of a task of {classes_per_task} "
            f"classes; give at least {classes_per_task}"
        )
    parts = _draw_groups(data, groups, n_train, n_test, seed, root)
    inputs = scale_together([(train[0], test[0]) for train, test in parts], scaling, as_vectors(flatten, data))
    everything = list(dict.fromkeys(c for group in groups for c in group))
    made = []
    for t, (group, pair, xs) in enumerate(zip(groups, parts, inputs, strict=True)):
        named = everything if heads == "single" else group
        train, test = (_encode(x, labels, named, targets) for x, (_, labels) in zip(xs, pair, strict=True))
        first = t * train.n_outputs if heads == "per_task" else 0
        columns = tuple(range(first, first + train.n_outputs))
        made.append(Task(f"classes {', '.join(map(str, group))}", train, test, columns))
    return TaskStream(f"split {data}", tuple(made))


def class_groups(order: list[int], tasks: int | None, classes_per_task: int, overlap: int) -> list[list[int]]:
    """The classes of each task: consecutive ones, each group begins with the last ``overlap`` of the one before.

    Raises:
        DataError: if a number is out of range, or the classes do not reach for the tasks.
    """
    check_count("classes_per_task", classes_per_task, 2)
    check_count("overlap", overlap, 0)
    if overlap >= classes_per_task:
        raise DataError(
            f"overlap={overlap} of {classes_per_task} classes leaves no new class for the next task; choose at "
            f"most {classes_per_task - 1}"
        )
    step = classes_per_task - overlap
    most = 1 + (len(order) - classes_per_task) // step if len(order) >= classes_per_task else 0
    if tasks is None:
        tasks = most
    else:
        check_count("tasks", tasks, 2)
    if tasks > most or most < 2:
        raise DataError(
            f"{len(order)} classes reach for {most} tasks of {classes_per_task} with overlap {overlap}, but a "
            f"stream takes {max(tasks, 2)}; ask for fewer tasks, fewer classes a task or more overlap"
        )
    return [order[t * step : t * step + classes_per_task] for t in range(tasks)]


def _check_order(classes: Sequence[int] | None) -> list[int]:
    order = list(range(N_CLASSES)) if classes is None else classes
    are_classes = isinstance(order, list | tuple) and all(
        isinstance(c, int) and not isinstance(c, bool) and 0 <= c < N_CLASSES for c in order
    )
    if not are_classes or len(set(order)) < len(order):
        raise DataError(f"classes must be different integers from 0 to 9, like [3, 1, 4]; got {classes!r}")
    return list(order)


def _draw_groups(
    data: str, groups: list[list[int]], n_train: int, n_test: int, seed: int, root: str | Path | None
) -> list[tuple[Pictures, Pictures]]:
    """Training and test pictures of each task; training pictures are disjoint between tasks.

    Raises:
        DataError: naming a class that has too few images.
    """
    everything = sorted({c for group in groups for c in group})
    if n_test < len(everything):
        raise DataError(
            f"n_test={n_test} images leave class {everything[n_test]} out of the test of a stream of "
            f"{len(everything)} classes; give at least {len(everything)}"
        )
    shares = [_shares(group, n_train) for group in groups]
    wanted_train = {c: sum(share.get(c, 0) for share in shares) for c in everything}
    wanted_test = _shares(everything, n_test)
    drawn_classes = N_CLASSES if data == "digits" else len(everything)
    need_train, need_test = max(wanted_train.values()), max(wanted_test.values())
    try:
        train, test = draw(data, drawn_classes * need_train, drawn_classes * need_test, seed, root, everything)
    except DataError as error:
        raise DataError(
            f"{len(groups)} tasks of {n_train} training images each, and {n_test} test images, take {need_train} "
            f"and {need_test} of a class: {error}"
        ) from error
    for what, wanted, (_, labels) in (("training", wanted_train, train), ("test", wanted_test, test)):
        for c in everything:
            if (there := int((labels == c).sum())) < wanted[c]:
                raise DataError(
                    f"the stream takes {wanted[c]} {what} images of class {c}, but {data!r} has only {there} to "
                    f"give; ask for fewer images, or leave class {c} out"
                )
    used = dict.fromkeys(everything, 0)
    parts = []
    for t, (group, share) in enumerate(zip(groups, shares, strict=True)):
        rng = np.random.default_rng([seed, t])
        asked = {c: wanted_test[c] for c in group}
        parts.append((_take(train, share, used, rng), _take(test, asked, dict.fromkeys(used, 0), rng)))
        for c, n in share.items():
            used[c] += n
    return parts


def _shares(group: list[int], n: int) -> dict[int, int]:
    """How many of n images each class of a task gets; the first ones one more where n does not divide."""
    return {c: math.ceil((n - i) / len(group)) for i, c in enumerate(group)}


def _take(pictures: Pictures, share: dict[int, int], start: dict[int, int], rng: np.random.Generator) -> Pictures:
    """A task's share of each class, from where the tasks before have left off, in class-balanced order."""
    x, labels = pictures
    members = np.concatenate([np.flatnonzero(labels == c)[start[c] : start[c] + n] for c, n in share.items()])
    members = members[class_balanced_order(labels[members], rng)]
    return x[members], labels[members]


def _encode(x: torch.Tensor, labels: np.ndarray, named: list[int], targets: str) -> Dataset:
    codes = torch.as_tensor([named.index(label) for label in labels])
    return Dataset(x, encode_classes(codes, len(named), targets), len(named))
