"""The door to all streams: one function, one name for each kind."""

import inspect
from collections.abc import Callable

from ntkgap.data.sampling import check_sizes
from ntkgap.data.streams.permuted import permuted
from ntkgap.data.streams.regressions import regressions
from ntkgap.data.streams.rotated import rotated
from ntkgap.data.streams.split import split_classes
from ntkgap.data.streams.stream import TaskStream
from ntkgap.errors import DataError

STREAMS: dict[str, Callable[..., TaskStream]] = {
    "rotated": rotated,
    "permuted": permuted,
    "split": split_classes,
    "regressions": regressions,
}


def load_stream(
    kind: str,
    data: str | None = None,
    n_train: int = 100,
    n_test: int = 300,
    seed: int = 0,
    **options: object,
) -> TaskStream:
    """Make a stream of tasks, always the same for the same arguments.

    Args:
        kind: ``"rotated"``, ``"permuted"`` or ``"split"`` images, or ``"regressions"`` on the sphere.
        data: of images: ``"digits"`` (if not given), ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        n_train: number of training examples of one task.
        n_test: number of test examples of one task; for split classes, of all classes together.
        seed: seed of the draw, and of all else that is random in a stream.
        **options: what the kind takes besides, for example ``tasks=5`` and ``angle=22.5`` for rotated images,
            ``fraction=0.5`` for permuted ones, ``classes_per_task=2``, ``overlap=1`` or ``heads="per_task"`` for
            split ones, ``angle=45`` or ``teacher="relu"`` for regressions; ``scaling``, ``targets``, ``flatten``
            and ``root`` for all images.

    Returns:
        Tasks in their order, float32.

    Raises:
        DataError: if the kind, the data or an option is unknown, a number is out of range, or the data do not
            reach for the stream.
    """
    if not isinstance(kind, str) or kind not in STREAMS:
        raise DataError(f"unknown stream {kind!r}; choose one of {', '.join(sorted(STREAMS))}")
    make = STREAMS[kind]
    parameters = inspect.signature(make).parameters
    known = {p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY}
    if unknown := set(options) - known:
        raise DataError(
            f"stream {kind!r} has no option {', '.join(sorted(unknown))}; it takes {', '.join(sorted(known))}"
        )
    check_sizes(n_train, n_test)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DataError(f"seed must be an integer of at least 0, got {seed!r}")
    if "data" in parameters:
        return make("digits" if data is None else data, n_train, n_test, seed, **options)
    if data is not None:
        raise DataError(f"stream {kind!r} makes its own data; leave data={data!r} out")
    return make(n_train, n_test, seed, **options)
