"""The door to all data: one function, one name for each data set."""

import inspect
from collections.abc import Callable

from ntkgap.data.arrays import arrays
from ntkgap.data.dataset import Dataset
from ntkgap.data.digits import digits
from ntkgap.data.sphere import sphere
from ntkgap.errors import DataError

DATASETS: dict[str, Callable[..., tuple[Dataset, Dataset]]] = {"digits": digits, "sphere": sphere}


def load_data(
    name: str,
    n_train: int = 256,
    n_test: int = 512,
    seed: int = 0,
    **options: object,
) -> tuple[Dataset, Dataset]:
    """Load a training and a test set, always the same for the same arguments.

    Args:
        name: ``"digits"``, ``"sphere"``, or the path of an ``.npz`` file with arrays x and y.
        n_train: number of training examples.
        n_test: number of test examples, disjoint from the training examples.
        seed: seed of the draw.
        **options: what the data set takes besides, for example ``scaling="unit_norm"`` or
            ``targets="plus_minus"`` for digits, ``dim=32`` or ``targets="teacher"`` for the sphere.

    Returns:
        ``(train, test)``: float32 ``Dataset``s with x [n, ...] and y [n, C].

    Raises:
        DataError: if the name or an option is unknown, a size is out of range, or data are not finite.
    """
    if name.endswith(".npz"):
        loader: Callable[..., tuple[Dataset, Dataset]] = arrays
        arguments: dict[str, object] = {"path": name}
    elif name in DATASETS:
        loader, arguments = DATASETS[name], {}
    else:
        raise DataError(
            f"unknown data {name!r}; choose one of {', '.join(sorted(DATASETS))}, or a path ending in .npz"
        )
    known = {p.name for p in inspect.signature(loader).parameters.values() if p.kind is p.KEYWORD_ONLY}
    if unknown := set(options) - known:
        raise DataError(
            f"data {name!r} has no option {', '.join(sorted(unknown))}; it takes {', '.join(sorted(known))}"
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DataError(f"seed must be an integer of at least 0, got {seed!r}")
    return loader(**arguments, n_train=n_train, n_test=n_test, seed=seed, **options)
