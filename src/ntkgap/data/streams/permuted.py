"""Images with their pixels in another order in every task."""

import numpy as np
import torch
from torch import Tensor

from ntkgap.data.streams.pool import Appearance, check_count, check_number
from ntkgap.data.streams.stream import TaskStream


def permuted(
    data: str = "digits",
    n_train: int = 100,
    n_test: int = 100,
    seed: int = 0,
    *,
    tasks: int = 5,
    fraction: float = 1.0,
    scaling: str = "standardize",
    targets: str = "one_hot",
    flatten: bool = False,
    shrink: int = 1,
    root: object = None,
) -> TaskStream:
    """The first task shows images as they are; every other one exchanges pixels in an order of its own.

    Every task has training images of its own; all are tested on the same ones. All channels of a pixel move
    together.

    Args:
        data: ``"digits"``, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        n_train: training images a task; at least 10, that every task has some of each class.
        n_test: test images a task.
        seed: of the draw and of the orders.
        tasks: T.
        fraction: of the pixels that may change places, chosen anew for every task; 0 makes all tasks alike.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``.
        targets: ``"one_hot"`` or ``"plus_minus"``.
        flatten: vectors in place of images.
        shrink: every shrink × shrink pixels become their mean, before they change places.
        root: the folder with data.

    Raises:
        DataError: if a number is out of range, data do not reach, or a task would lack a class.
    """
    check_count("tasks", tasks, 2)
    check_count("n_train", n_train)
    check_number("fraction", fraction, 0, 1, "of the pixels that change places")
    look = Appearance(scaling, targets, flatten, shrink, root)
    pool = look.pool(data, tasks * n_train, n_test, seed, f"{tasks} tasks of {n_train} training images")
    rng = np.random.default_rng([seed, tasks])
    pixels = pool.x_train[0, 0].numel()
    found = []
    for t, own in enumerate(look.shares(pool.labels_train, tasks)):
        order = _order(pixels, fraction, rng) if t else np.arange(pixels)
        parts = (
            (_permute(pool.x_train[own], order), pool.labels_train[own]),
            (_permute(pool.x_test, order), pool.labels_test),
        )
        found.append(look.task(f"order {t + 1}", parts, range(10)))
    return look.stream(f"permuted {data}", found)


def _order(pixels: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Where each pixel comes from: some exchange places, the others stay."""
    order = np.arange(pixels)
    chosen = rng.permutation(pixels)[: round(fraction * pixels)]
    order[chosen] = rng.permutation(chosen)
    return order


def _permute(images: Tensor, order: np.ndarray) -> Tensor:
    return images.flatten(2)[:, :, torch.as_tensor(order)].reshape(images.shape)
