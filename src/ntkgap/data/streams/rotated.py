"""Images, rotated further by every task."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ntkgap.data.streams.pool import Appearance, check_count, check_number
from ntkgap.data.streams.stream import TaskStream
from ntkgap.errors import DataError

FULL_TURN = 360.0


def rotated(
    data: str = "digits",
    n_train: int = 100,
    n_test: int = 100,
    seed: int = 0,
    *,
    tasks: int = 5,
    angle: float = 22.5,
    scaling: str = "standardize",
    targets: str = "one_hot",
    flatten: bool = False,
    shrink: int = 1,
    root: object = None,
) -> TaskStream:
    """Task t shows images turned counter-clockwise by t·angle degrees.

    Every task has training images of its own; all are tested on the same ones, turned.

    Args:
        data: ``"digits"``, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        n_train: training images a task; at least 10, that every task has some of each class.
        n_test: test images a task.
        seed: of the draw.
        tasks: T.
        angle: from one task to the next; 0 makes all tasks alike, and the last must stay below a full turn.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``, after the rotation.
        targets: ``"one_hot"`` or ``"plus_minus"``.
        flatten: vectors in place of images.
        shrink: every shrink × shrink pixels become their mean, before the rotation.
        root: the folder with data.

    Raises:
        DataError: if a number is out of range, data do not reach, or a task would lack a class.
    """
    check_count("tasks", tasks, 2)
    check_count("n_train", n_train)
    check_number("angle", angle, 0, FULL_TURN, "in degrees from one task to the next")
    if angle * (tasks - 1) >= FULL_TURN:
        raise DataError(
            f"{tasks} tasks, each {angle:g}° further, come full circle; the last must stay below 360°: lower the "
            "angle or the number of tasks"
        )
    look = Appearance(scaling, targets, flatten, shrink, root)
    why = f"{tasks} tasks of {n_train} training images"
    pool = look.pool(data, tasks * n_train, n_test, seed, why)
    found = []
    for t, own in enumerate(look.shares(pool.labels_train, tasks)):
        parts = (
            (rotate(pool.x_train[own], t * angle), pool.labels_train[own]),
            (rotate(pool.x_test, t * angle), pool.labels_test),
        )
        found.append(look.task(f"{t * angle:g}°", parts, range(10)))
    return look.stream(f"rotated {data}", found)


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn images [n, C, H, W] counter-clockwise about their centre: bilinear, zeros from outside, same size."""
    if degrees % FULL_TURN == 0:
        return images
    turned = ndimage.rotate(images.numpy(), degrees, axes=(-1, -2), order=1, reshape=False)
    return torch.as_tensor(np.ascontiguousarray(turned), dtype=images.dtype)
