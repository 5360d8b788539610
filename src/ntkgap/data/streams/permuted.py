"""Images with their pixels, or tables with their columns, in another order in every task."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntkgap.data.streams.pool import Appearance, check_count, check_number
from ntkgap.data.streams.sources import source_of
from ntkgap.data.streams.stream import TaskStream


def permuted(
    data: Any = "digits",
    n_train: int = 100,
    n_test: int = 100,
    seed: int = 0,
    *,
    tasks: int = 5,
    fraction: float = 1.0,
    same_examples: bool = False,
    scaling: str = "standardize",
    targets: str | None = None,
    flatten: bool = False,
    shrink: int = 1,
    root: object = None,
    target: str | None = None,
) -> TaskStream:
    """The first task shows inputs as they are; every other one exchanges their entries in an order of its own.

    Entries are the pixels of images [n, C, H, W], of which all channels move together; of tables [n, d] and
    sequences [n, ...] all numbers of an example, each scaled as in its first place. Every task has training
    examples of its own, if not asked otherwise; all are tested on the same ones. Targets are classes or those of a
    regression.

    Args:
        data: ``"digits"``, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``; or one's own examples, as
            ``load_data`` takes them: ``"mine.npz"``, ``"mine.csv"`` with ``target=``, a pair (x, y) and the like.
        n_train: training examples a task; at least as many as classes, that every task has some of each.
        n_test: test examples a task.
        seed: of the draw and of the orders.
        tasks: T.
        fraction: of the entries that may change places, chosen anew for every task; 0 makes all tasks alike.
        same_examples: whether all tasks show the same training examples; else each has its own.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``.
        targets: of classes ``"one_hot"`` (if not given), ``"plus_minus"`` or, for two, ``"sign"``; of a regression
            ``"standardize"`` (if not given; by the first task's training targets) or ``"none"``.
        flatten: vectors in place of images or sequences.
        shrink: of images, every shrink × shrink pixels become their mean, before they change places.
        root: the folder with named data.
        target: the column of targets, where data are a table of one's own.

    Raises:
        DataError: if a number is out of range, data do not reach, or a task would lack a class.
    """
    check_count("tasks", tasks, 2)
    check_count("n_train", n_train)
    check_count("n_test", n_test)
    check_number("fraction", fraction, 0, 1, "of the entries that change places")
    look, source = Appearance(scaling, targets, flatten, shrink), source_of(data, root, target)
    pool = source.draw_shares(1 if same_examples else tasks, n_train, n_test, seed)
    pool = replace(pool, x_train=look.shrunk(pool.x_train), x_test=look.shrunk(pool.x_test))
    shares = pool.shares(tasks, same_examples)
    if not source.has_images:  # the scale of a column moves with it: seconds are not scaled as metres are
        pool, look = look.scaled(pool, pool.x_train[shares[0]]), replace(look, scaling="none")
    n_classes = None if pool.classes is None else len(pool.classes)
    rng = np.random.default_rng([seed, tasks])
    start = 2 if source.has_images else 1
    entries = pool.x_train[0].flatten(start - 1).shape[-1]
    found = []
    for t, own in enumerate(shares):
        order = _order(entries, fraction, rng) if t else np.arange(entries)
        parts = (
            (_permute(pool.x_train[own], order, start), pool.y_train[own]),
            (_permute(pool.x_test, order, start), pool.y_test),
        )
        found.append(look.task(f"order {t + 1}", parts, n_classes))
    return look.stream(f"permuted {Path(source.name).name}", found)


def _order(entries: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Where each entry comes from: some exchange places, the others stay."""
    order = np.arange(entries)
    chosen = rng.permutation(entries)[: round(fraction * entries)]
    order[chosen] = rng.permutation(chosen)
    return order


def _permute(x: Tensor, order: np.ndarray, start: int) -> Tensor:
    """Inputs with the entries of all axes from ``start`` on in another order."""
    return x.flatten(start)[..., torch.as_tensor(order)].reshape(x.shape)
