"""Loads all streams: one function, one name for each kind."""

import inspect
from collections.abc import Callable
from typing import Any

from ntkgap.data.dataset import check_default_device
from ntkgap.data.streams.permuted import permuted
from ntkgap.data.streams.rotated import rotated
from ntkgap.data.streams.split import split
from ntkgap.data.streams.stream import TaskStream
from ntkgap.data.streams.tasks import tasks
from ntkgap.data.streams.teachers import teachers
from ntkgap.errors import DataError

STREAMS: dict[str, Callable[..., TaskStream]] = {
    "rotated": rotated,
    "permuted": permuted,
    "split": split,
    "tasks": tasks,
    "teachers": teachers,
}


def load_stream(
    kind: str,
    data: Any = None,
    n_train: int = 100,
    n_test: int = 100,
    seed: int = 0,
    **options: object,
) -> TaskStream:
    """Make a stream of tasks, always the same for the same arguments.

    Inputs are scaled by mean and standard deviation of the first task's training set: images by channel, tables
    and all else by column.

    Args:
        kind: ``"rotated"`` images, ``"permuted"`` inputs, ``"split"`` classes, ``"tasks"`` (one file or data set a
            task), or ``"teachers"`` (regressions).
        data: ``"digits"`` if not given, ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"`` (see ``load_data`` for
            where files are looked for), or examples of one's own as ``load_data`` takes them, such as
            ``"mine.npz:images,labels"``, ``"mine.csv"`` with ``target="column"``, a pair (x, y) or a ``Dataset``;
            a list of these, or ``"a.npz,b.npz"``, for tasks; ``"sphere"`` for teachers.
        n_train: training examples *a task*.
        n_test: test examples a task.
        seed: of the draw.
        **options: what the kind takes besides, such as ``tasks=5``, ``angle=22.5`` (rotated), ``fraction=0.5``
            (permuted), ``heads="per_task"`` (split, tasks) or ``similarity=0.9`` (teachers); of all but teachers
            also ``scaling="unit_norm"``, ``targets="plus_minus"``, ``flatten=True``, ``shrink=2`` (images) and
            ``target="column"`` (tables).

    Returns:
        The stream, float32.

    Raises:
        DataError: if the kind or an option is unknown, a number out of range, or data do not reach.

    Example:
        >>> stream = ng.continual.load_stream("rotated", "digits", n_train=20, n_test=20, tasks=3, angle=30)
        >>> [task.name for task in stream.tasks]
        ['0°', '30°', '60°']
    """
    check_default_device()
    if not isinstance(kind, str) or kind not in STREAMS:
        raise DataError(f"unknown stream {kind!r}; choose one of {', '.join(STREAMS)}")
    maker = STREAMS[kind]
    known = {p.name for p in inspect.signature(maker).parameters.values() if p.kind is p.KEYWORD_ONLY}
    if unknown := set(options) - known:
        raise DataError(
            f"stream {kind!r} has no option {', '.join(sorted(unknown))}; it takes {', '.join(sorted(known))}"
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DataError(f"seed must be an integer of at least 0, got {seed!r}")
    chosen = {} if data is None else {"data": data}
    return maker(n_train=n_train, n_test=n_test, seed=seed, **chosen, **options)
