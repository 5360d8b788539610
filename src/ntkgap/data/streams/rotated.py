"""The same images, seen at one angle after the other."""

from pathlib import Path

import torch
from scipy import ndimage
from torch import Tensor

from ntkgap.data.streams.options import check_count, check_number
from ntkgap.data.streams.pictures import as_vectors, draw_per_task, image_stream
from ntkgap.data.streams.stream import TaskStream
from ntkgap.errors import DataError

FULL_TURN = 360


def rotated(
    data: str = "digits",
    n_train: int = 100,
    n_test: int = 300,
    seed: int = 0,
    *,
    tasks: int = 5,
    angle: float = 22.5,
    scaling: str = "standardize",
    targets: str = "one_hot",
    flatten: bool | None = None,
    root: str | Path | None = None,
) -> TaskStream:
    """Tasks t = 0 … T − 1 that rotate images by t times an angle, before anything is scaled.

    Every task has training images of its own, as balanced in classes as can be; all tasks have the same test
    images, each task at its angle. An angle of 0 gives tasks that differ in their draw of training images alone.
    (Rotated MNIST: Lopez-Paz, Ranzato, *Gradient episodic memory*, 2017.)

    Args:
        data: ``"digits"``, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        n_train: number of training images of one task.
        n_test: number of test images.
        seed: the same seed gives the same stream.
        tasks: T.
        angle: degrees from one task to the next, in [0, 360); the last angle stays below 360.
        scaling: ``"standardize"`` (each channel by one mean and standard deviation, those of the first task's
            training images, for all tasks), ``"unit_norm"`` (each image to norm 1), or ``"none"`` (as read).
        targets: ``"one_hot"`` or ``"plus_minus"``.
        flatten: whether to give vectors [n, C·H·W] in place of images [n, C, H, W]; if not given, as ``load_data``
            does: vectors for the digits, else images.
        root: the folder with data; if not given, ``$NTKGAP_DATA``, then the user's data directory.

    Raises:
        DataError: if a number is out of range, the data are no images or do not reach, or an option is unknown.
    """
    check_count("tasks", tasks, 2)
    check_number("angle", angle, 0, FULL_TURN, below=True)
    if (last := (tasks - 1) * angle) >= FULL_TURN:
        raise DataError(
            f"{tasks} tasks {angle:g}° apart end at {last:g}°, where images come round to what they were; choose "
            f"an angle below {FULL_TURN / (tasks - 1):g}, or fewer tasks"
        )
    trains, (x_test, labels_test) = draw_per_task(data, n_train, n_test, seed, tasks, root)
    turned = [
        (f"{t * angle:g}°", (rotate(x, t * angle), labels), (rotate(x_test, t * angle), labels_test))
        for t, (x, labels) in enumerate(trains)
    ]
    return image_stream(f"rotated {data}", turned, scaling, targets, as_vectors(flatten, data))


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotate images about their centre, counterclockwise, with bilinear interpolation; corners turn out of sight.

    Args:
        images: [..., H, W]; what lies outside is 0.
        degrees: by how much.

    Returns:
        Images of the same shape.
    """
    turned = ndimage.rotate(images.numpy(), degrees, axes=(-2, -1), order=1, reshape=False)
    return torch.as_tensor(turned)
