"""The same images, their pixels in another order in every task."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntkgap.data.streams.options import check_count, check_number
from ntkgap.data.streams.pictures import as_vectors, draw_per_task, image_stream
from ntkgap.data.streams.stream import TaskStream


def permuted(
    data: str = "digits",
    n_train: int = 100,
    n_test: int = 300,
    seed: int = 0,
    *,
    tasks: int = 5,
    fraction: float = 1.0,
    scaling: str = "standardize",
    targets: str = "one_hot",
    flatten: bool | None = None,
    root: str | Path | None = None,
) -> TaskStream:
    """Tasks with pixels in a fixed random order of each task's own; the first task leaves them in place.

    Every task has training images of its own, as balanced in classes as can be; all tasks have the same test
    images, in each task's order. (Permuted MNIST: Goodfellow et al., *An empirical investigation of catastrophic
    forgetting*, 2013.)

    Args:
        data: ``"digits"``, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        n_train: number of training images of one task.
        n_test: number of test images.
        seed: the same seed gives the same stream.
        tasks: T.
        fraction: which part of the pixels, drawn anew for every task, change places with each other; 0 gives tasks
            that differ in their draw of training images alone.
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
    check_number("fraction", fraction, 0, 1)
    trains, (x_test, labels_test) = draw_per_task(data, n_train, n_test, seed, tasks, root)
    shuffled = []
    for t, (x, labels) in enumerate(trains):
        places = pixel_order(x.shape[-2] * x.shape[-1], fraction if t else 0.0, np.random.default_rng([seed, t]))
        name = f"order {t}" if t else "as they are"
        shuffled.append((name, (rearrange(x, places), labels), (rearrange(x_test, places), labels_test)))
    return image_stream(f"permuted {data}", shuffled, scaling, targets, as_vectors(flatten, data))


def pixel_order(n_pixels: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """A permutation of 0 … n_pixels − 1 that moves at most a fraction of them, drawn at random.

    Args:
        n_pixels: how many places there are.
        fraction: which part of them take part, rounded to whole places.
        rng: source of randomness.
    """
    chosen = rng.permutation(n_pixels)[: round(fraction * n_pixels)]
    order = np.arange(n_pixels)
    order[chosen] = rng.permutation(chosen)
    return order


def rearrange(images: Tensor, order: np.ndarray) -> Tensor:
    """Put pixels of images [..., H, W] in another order, the same for all channels.

    Args:
        images: to be rearranged.
        order: place i takes the pixel of place ``order[i]``, counted row by row.
    """
    return images.flatten(-2)[..., torch.as_tensor(order)].reshape(images.shape)
