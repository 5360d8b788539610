"""Streams of a user's own tasks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ntkgap.data.dataset import Dataset
from ntkgap.data.streams.stream import Task, TaskStream
from ntkgap.errors import DataError


def stream_of(
    datasets: Sequence[tuple[Dataset, Dataset]],
    *,
    heads: str = "single",
    names: Sequence[str] | None = None,
    name: str = "own tasks",
) -> TaskStream:
    """A stream of tasks that are given as data sets.

    Args:
        datasets: training and test set of every task, in the order in which they are learned.
        heads: ``"single"``: all tasks use the same outputs, and have the same columns of targets; ``"per_task"``:
            every task has outputs of its own.
        names: of the tasks; numbers if not given.
        name: of the stream.

    Raises:
        DataError: if there are fewer than two tasks, shapes differ, or a class that is tested is not in the
            training set.

    Example:
        >>> tasks = [ng.load_data("digits", n_train=10, n_test=10, seed=seed) for seed in (0, 1)]
        >>> ng.continual.stream_of(tasks, names=["first", "second"]).n_outputs
        10
    """
    check_heads(heads)
    if not isinstance(datasets, Sequence):
        raise DataError(
            f"datasets must be a list of pairs of Datasets, (training set, test set), one a task; got "
            f"{type(datasets).__name__}"
        )
    for t, pair in enumerate(datasets):
        if not isinstance(pair, tuple | list) or [isinstance(part, Dataset) for part in pair] != [True, True]:
            raise DataError(f"task {t + 1} must be a pair of Datasets, (training set, test set)")
    labels = [f"task {t + 1}" for t in range(len(datasets))] if names is None else list(names)
    if len(labels) != len(datasets):
        raise DataError(f"there are {len(datasets)} tasks but {len(labels)} names")
    if len(set(labels)) < len(labels):
        raise DataError(f"tasks must be told apart by their names, got {labels}")
    tasks, first = [], 0
    for label, (train, test) in zip(labels, datasets, strict=True):
        _check_classes(label, train, test)
        tasks.append(Task(label, train, test, tuple(range(first, first + train.n_outputs))))
        if heads == "per_task":
            first += train.n_outputs
        elif train.n_outputs != datasets[0][0].n_outputs:
            raise DataError(
                f"{label} has {train.n_outputs} targets an example, {labels[0]} has {datasets[0][0].n_outputs}; "
                "give all tasks the same columns, or heads='per_task'"
            )
    return TaskStream(name, tuple(tasks))


def check_heads(heads: str) -> None:
    """Refuse what is no way to give tasks their outputs.

    Raises:
        DataError: naming those there are.
    """
    if heads not in ("single", "per_task"):
        raise DataError(f"heads must be 'single' or 'per_task', got {heads!r}")


def _check_classes(label: str, train: Dataset, test: Dataset) -> None:
    """Refuse a test set with classes of which there is nothing to learn.

    Raises:
        DataError: naming them.
    """
    if train.n_classes is None or test.n_classes is None or train.n_outputs != test.n_outputs:
        return
    learned, tested = (set(torch.unique(_classes(data)).tolist()) for data in (train, test))
    if missing := sorted(tested - learned):
        raise DataError(
            f"{label}: class {', '.join(map(str, missing))} is in the test set, but there is no training "
            "example of it; add some, or leave it out of the test set"
        )


def _classes(data: Dataset) -> Tensor:
    """Column of the largest target; of signs, which one it is."""
    return (data.y[:, 0] > 0).long() if data.n_outputs == 1 else data.y.argmax(dim=1)
