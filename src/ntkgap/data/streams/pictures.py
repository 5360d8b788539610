"""The images that streams are made of: drawn raw, dealt to tasks, and scaled once for all tasks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntkgap.data.dataset import IMAGE_AXES, Dataset, check_flag, encode_classes, scale_inputs
from ntkgap.data.images import IMAGES, N_CLASSES
from ntkgap.data.loading import load_data
from ntkgap.data.sampling import class_balanced_order
from ntkgap.data.streams.stream import Task, TaskStream
from ntkgap.errors import DataError

IMAGE_DATA = ("digits", *IMAGES)

Pictures = tuple[Tensor, np.ndarray]


def draw(
    name: str, n_train: int, n_test: int, seed: int, root: str | Path | None, classes: Sequence[int] | None = None
) -> tuple[Pictures, Pictures]:
    """Draw raw, class-balanced training and test images with their labels.

    Args:
        name: one of ``IMAGE_DATA``.
        n_train: number of training images, of all tasks together.
        n_test: number of test images.
        seed: of the draw.
        root: the folder with data, for what comes from files.
        classes: of data from files, draw only these; the digits are always drawn from all ten.

    Returns:
        Training and test images, each as pixels [n, C, H, W] and labels [n] from 0 to 9.

    Raises:
        DataError: if the name is not one of images, or the data do not reach.
    """
    if name not in IMAGE_DATA:
        raise DataError(
            f"{name!r} are not images that streams are made of; choose one of {', '.join(IMAGE_DATA)}, or make "
            "tasks of your own data with TaskStream.of"
        )
    options: dict[str, object] = {"scaling": "none", "flatten": False}
    drawn = list(range(N_CLASSES))
    if name != "digits":
        drawn = drawn if classes is None else sorted(classes)
        options |= {"root": root, "classes": drawn}
    elif root is not None:
        raise DataError("the digits come with the library and are in no folder; leave root out")
    train, test = load_data(name, n_train, n_test, seed, **options)
    labels = np.array(drawn)
    return (train.x, labels[train.y.argmax(dim=1).numpy()]), (test.x, labels[test.y.argmax(dim=1).numpy()])


def deal(labels: np.ndarray, n_tasks: int, seed: int) -> list[np.ndarray]:
    """Deal examples to tasks, so that every task and all its prefixes hold nearly equally many of each class.

    The examples are laid out class by class, and dealt in turn: counts of a class differ by at most one between
    tasks, and, where all examples together are balanced, counts of classes by at most one within a task.

    Args:
        labels: class of each example, [n]; n is a multiple of the number of tasks.
        n_tasks: T.
        seed: of the order within the tasks.

    Returns:
        T arrays of indices, disjoint, of n/T each.
    """
    by_class = np.argsort(labels, kind="stable")
    hands = [by_class[task::n_tasks] for task in range(n_tasks)]
    return [
        hand[class_balanced_order(labels[hand], np.random.default_rng([seed, task]))]
        for task, hand in enumerate(hands)
    ]


def draw_per_task(
    name: str, n_train: int, n_test: int, seed: int, tasks: int, root: str | Path | None
) -> tuple[list[Pictures], Pictures]:
    """Draw balanced training images for every task, all disjoint, and one test set.

    Raises:
        DataError: as for ``draw``.
    """
    try:
        (x, labels), test = draw(name, tasks * n_train, n_test, seed, root)
    except DataError as error:
        raise DataError(f"{tasks} tasks of {n_train} training images each: {error}") from error
    return [(x[hand], labels[hand]) for hand in deal(labels, tasks, seed)], test


def image_stream(
    name: str,
    tasks: Sequence[tuple[str, Pictures, Pictures]],
    scaling: str,
    targets: str,
    flatten: bool,
) -> TaskStream:
    """Make a stream of tasks that tell the ten classes apart, in the same ten outputs.

    Args:
        name: of the stream.
        tasks: name, training and test pictures of each.
        scaling: as for ``scale_together``.
        targets: ``"one_hot"`` or ``"plus_minus"``.
        flatten: whether to give vectors.

    Raises:
        DataError: if an option is unknown.
    """
    inputs = scale_together([(train[0], test[0]) for _, train, test in tasks], scaling, flatten)
    made = []
    for (task_name, *parts), xs in zip(tasks, inputs, strict=True):
        train, test = (
            Dataset(x, encode_classes(torch.as_tensor(labels), N_CLASSES, targets), N_CLASSES)
            for x, (_, labels) in zip(xs, parts, strict=True)
        )
        made.append(Task(task_name, train, test, tuple(range(N_CLASSES))))
    return TaskStream(name, tuple(made))


def scale_together(
    inputs: Sequence[tuple[Tensor, Tensor]], scaling: str, flatten: bool
) -> list[tuple[Tensor, Tensor]]:
    """Scale the images of all tasks by one map, which the first task's training images alone determine.

    Args:
        inputs: raw training and test images [n, C, H, W] of each task.
        scaling: ``"standardize"`` (each channel to mean 0 and standard deviation 1 over all pixels of the first
            task's training images), ``"unit_norm"`` (each image to Euclidean norm 1), or ``"none"`` (as read).
        flatten: whether to give vectors [n, C·H·W].

    Raises:
        DataError: if the scaling is unknown, or an image is zero and cannot have unit norm.
    """
    check_flag("flatten", flatten)
    first = inputs[0][0]
    scaled = []
    for train, test in inputs:
        parts = [scale_inputs(first, x, scaling, IMAGE_AXES)[1] for x in (train, test)]
        scaled.append((parts[0].flatten(1), parts[1].flatten(1)) if flatten else (parts[0], parts[1]))
    return scaled


def as_vectors(flatten: bool | None, data: str) -> bool:
    """Whether images are given as vectors: as asked, else as ``load_data`` gives them, the digits alone."""
    return data == "digits" if flatten is None else flatten
