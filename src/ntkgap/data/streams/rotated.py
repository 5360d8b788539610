"""Images, rotated further by every task."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ntkgap.data.streams.pool import Appearance, check_count, check_number
from ntkgap.data.streams.sources import source_of
from ntkgap.data.streams.stream import TaskStream
from ntkgap.errors import DataError

FULL_TURN = 360.0


def rotated(
    data: Any = "digits",
    n_train: int = 100,
    n_test: int = 100,
    seed: int = 0,
    *,
    tasks: int = 5,
    angle: float = 22.5,
    same_examples: bool = False,
    scaling: str = "standardize",
    targets: str | None = None,
    flatten: bool = False,
    shrink: int = 1,
    root: object = None,
    target: str | None = None,
) -> TaskStream:
    """Task t shows images turned counter-clockwise by t·angle degrees.

    Every task has training images of its own, if not asked otherwise; all are tested on the same ones, turned.
    Targets are classes or those of a regression.

    Args:
        data: ``"digits"``, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``; or one's own images [n, C, H, W], as
            ``load_data`` takes them: ``"mine.npz"``, ``"mine.npz:images,labels"``, a pair (x, y) and the like.
        n_train: training images a task; at least as many as classes, that every task has some of each.
        n_test: test images a task.
        seed: of the draw.
        tasks: T.
        angle: from one task to the next; 0 makes all tasks alike, and the last must stay below a full turn.
        same_examples: whether all tasks show the same training examples; else each has its own.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``, after the rotation.
        targets: of classes ``"one_hot"`` (if not given), ``"plus_minus"`` or, for two, ``"sign"``; of a regression
            ``"standardize"`` (if not given; by the first task's training targets) or ``"none"``.
        flatten: vectors in place of images.
        shrink: every shrink × shrink pixels become their mean, before the rotation.
        root: the folder with named data.
        target: the column of targets, where data are a table of one's own.

    Raises:
        DataError: if data are no images, a number is out of range, data do not reach, or a task would lack a
            class.
    """
    check_count("tasks", tasks, 2)
    check_count("n_train", n_train)
    check_count("n_test", n_test)
    check_number("angle", angle, 0, FULL_TURN, "in degrees from one task to the next")
    if angle * (tasks - 1) >= FULL_TURN:
        raise DataError(
            f"{tasks} tasks, each {angle:g}° further, come full circle; the last must stay below 360°: lower the "
            "angle or the number of tasks"
        )
    look, source = Appearance(scaling, targets, flatten, shrink), source_of(data, root, target)
    if not source.has_images:
        raise DataError(
            f"{source.name} holds no images [n, C, H, W] to rotate; give x four axes (gray pictures [n, H, W] as "
            "x[:, None], flat ones by x.reshape(n, C, H, W)), or choose the kind 'permuted'"
        )
    pool = source.draw_shares(1 if same_examples else tasks, n_train, n_test, seed)
    x_train, x_test = look.shrunk(pool.x_train), look.shrunk(pool.x_test)
    n_classes = None if pool.classes is None else len(pool.classes)
    found = []
    for t, own in enumerate(pool.shares(tasks, same_examples)):
        parts = (
            (rotate(x_train[own], t * angle), pool.y_train[own]),
            (rotate(x_test, t * angle), pool.y_test),
        )
        found.append(look.task(f"{t * angle:g}°", parts, n_classes))
    return look.stream(f"rotated {Path(source.name).name}", found)


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn images [n, C, H, W] counter-clockwise about their center: bilinear, zeros from outside, same size."""
    if degrees % FULL_TURN == 0:
        return images
    turned = ndimage.rotate(images.numpy(), degrees, axes=(-1, -2), order=1, reshape=False)
    return torch.as_tensor(np.ascontiguousarray(turned), dtype=images.dtype)
