"""One file or data set a task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ntkgap.data.arrays import OwnExamples, own_file, own_names, read_examples
from ntkgap.data.dataset import Dataset
from ntkgap.data.own import is_own
from ntkgap.data.sampling import check_sizes, split
from ntkgap.data.streams.own import check_heads, stream_of
from ntkgap.data.streams.pool import Appearance
from ntkgap.data.streams.stream import TaskStream
from ntkgap.errors import DataError


def tasks(
    data: Any = (),
    n_train: int = 100,
    n_test: int = 100,
    seed: int = 0,
    *,
    heads: str = "single",
    scaling: str = "standardize",
    targets: str | None = None,
    flatten: bool = False,
    shrink: int = 1,
    target: str | None = None,
) -> TaskStream:
    """Task t is the t-th of one's own files or data sets: classes, or regressions.

    From each of them examples are drawn as ``load_data`` draws them with the same sizes and seed. Inputs of all
    tasks are scaled by the statistics of the first task's training set.

    Args:
        data: a list with one entry a task, each a file or examples as ``load_data`` takes them,
            ``["a.npz", "b.npz"]``; or names of files in one text, ``"a.npz:x,y,b.npz:x,y"``.
        n_train: training examples a task, class-balanced.
        n_test: test examples a task.
        seed: of the draws.
        heads: ``"single"``: all tasks use the same outputs, of classes one for every label that any of the tasks
            has; ``"per_task"``: every task has outputs of its own, one for every label that it has.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``.
        targets: of classes ``"one_hot"`` (if not given), ``"plus_minus"`` or, for two, ``"sign"``; of regressions
            ``"standardize"`` (if not given; by the first task's training targets, with heads of their own by each
            task's) or ``"none"``.
        flatten: vectors in place of images or sequences.
        shrink: of images, every shrink × shrink pixels become their mean.
        target: the column of targets, where all data are tables.

    Raises:
        DataError: if a file or data set cannot be used or is too small, is given twice, or tasks do not go
            together: inputs of different shapes, classes and regressions, labels of text and of numbers; the
            message names both.
    """
    check_heads(heads)
    check_sizes(n_train, n_test)
    look, names = Appearance(scaling, targets, flatten, shrink), _list(data)
    found = [_read(t, one, target) for t, one in enumerate(names)]
    _check_alike(found)
    shared = sorted({c for one in found for c in one.classes or ()}) if heads == "single" else None
    pairs = []
    for one in found:
        labels = None if one.classes is None else one.y.numpy()
        try:
            drawn = split(len(one.x), n_train, n_test, np.random.default_rng(seed), labels)
        except DataError as error:
            raise DataError(f"{one.where}: {error}") from error
        y, n_classes = one.y, None
        if one.classes is not None:
            columns = one.classes if shared is None else shared
            y, n_classes = torch.tensor([columns.index(c) for c in one.classes])[one.y], len(columns)
        y = look.encoded(y, n_classes)
        train, test = (Dataset(look.shrunk(one.x[rows]), y[rows], n_classes) for rows in drawn)
        pairs.append((train, test))
    own = stream_of(pairs, heads=heads, names=_short(names))
    return look.stream(own.name, own.tasks)


def _list(data: Any) -> list[Any]:
    """One entry a task."""
    if isinstance(data, str | Path):
        data = own_names(str(data)) or [data]
    if not isinstance(data, list | tuple) or len(data) < 2:
        got = f"{len(data)} of them" if isinstance(data, list | tuple) else type(data).__name__
        raise DataError(
            f"tasks are given as a list of files or data sets, one a task and at least two, ['a.npz', 'b.npz']; "
            f"got {got}"
        )
    named = [str(one) for one in data if isinstance(one, str | Path)]
    if twice := [name for name in named if named.count(name) > 1]:
        raise DataError(f"{twice[0]} is given for two tasks; give each task a file or arrays of its own")
    return list(data)


def _read(t: int, data: Any, target: str | None) -> OwnExamples:
    is_file = isinstance(data, str | Path) and own_file(str(data)) is not None
    if not is_file and not is_own(data):
        got = repr(data) if isinstance(data, str | Path) else type(data).__name__
        raise DataError(
            f"task {t + 1} is {got}; give each task a file that ends in .npz, .csv or .parquet, a pair (x, y), a "
            "frame or a data set"
        )
    try:
        found = read_examples(data, target)
    except DataError as error:
        raise DataError(f"task {t + 1}: {error}") from error
    return found._replace(where=str(data) if is_file else f"task {t + 1}")


def _check_alike(found: Sequence[OwnExamples]) -> None:
    """Refuse tasks that no network could learn one after the other.

    Raises:
        DataError: naming the first task and the one that differs.
    """
    first = found[0]
    for one in found[1:]:
        if one.x.shape[1:] != first.x.shape[1:]:
            raise DataError(
                f"{first.where} has inputs of shape {tuple(first.x.shape[1:])}, {one.where} of shape "
                f"{tuple(one.x.shape[1:])}; one network learns all tasks: give them one shape"
            )
        kinds = [_kind(e) for e in (first, one)]
        if kinds[0] != kinds[1]:
            raise DataError(
                f"{first.where} has {kinds[0]}, {one.where} has {kinds[1]}; all tasks must have targets of a kind"
            )


def _kind(examples: OwnExamples) -> str:
    if examples.classes is None:
        return "floating-point targets, of a regression"
    return f"class labels that are {'text' if isinstance(examples.classes[0], str) else 'whole numbers'}"


def _short(data: Sequence[Any]) -> list[str]:
    """What readers call the tasks: files without their folders, where that tells them apart."""
    whole = [str(one) if isinstance(one, str | Path) else f"task {t + 1}" for t, one in enumerate(data)]
    short = [Path(name).name for name in whole]
    return short if len(set(short)) == len(short) else whole
