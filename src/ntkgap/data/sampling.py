"""Which examples go into the training and the test set."""

import numpy as np

from ntkgap.data.limits import check_bytes
from ntkgap.errors import DataError


def check_sizes(n_train: int, n_test: int, numbers_an_example: int = 0) -> None:
    """Refuse sample sizes that are not positive integers, or need more memory than data may take.

    Args:
        n_train: number of training examples.
        n_test: number of test examples.
        numbers_an_example: how many are drawn, in float64; none if the data lie in files.

    Raises:
        DataError: naming the size that is wrong.
    """
    for name, size in (("n_train", n_train), ("n_test", n_test)):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise DataError(f"{name} must be an integer of at least 1, got {size!r}")
    if numbers_an_example:
        check_bytes(f"n_train={n_train} and n_test={n_test} examples", 8 * numbers_an_example * (n_train + n_test))


def class_balanced_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Order examples so that every prefix holds nearly equally many of each class.

    Each class is shuffled; then the classes are dealt out in turn, in a new random order every round.
    Classes that run out are passed over.

    Args:
        labels: class of each example, [n].
        rng: source of randomness.

    Returns:
        A permutation of 0 … n − 1.
    """
    rank = np.empty(len(labels))
    for c in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == c))
        rank[members] = np.arange(len(members))
    return np.lexsort((rng.random(len(labels)), rank))


def split(
    n_available: int,
    n_train: int,
    n_test: int,
    rng: np.random.Generator,
    labels: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw disjoint training and test indices, class-balanced where labels are given.

    Args:
        n_available: number of examples there are.
        n_train: number of training examples.
        n_test: number of test examples.
        rng: source of randomness.
        labels: class of each example, for a balanced draw.

    Raises:
        DataError: if more examples are asked for than there are.
    """
    check_sizes(n_train, n_test)
    if n_train + n_test > n_available:
        raise DataError(
            f"n_train={n_train} and n_test={n_test} ask for {n_train + n_test} examples, "
            f"but the data set has {n_available}; ask for fewer"
        )
    order = rng.permutation(n_available) if labels is None else class_balanced_order(labels, rng)
    train, rest = order[:n_train], order[n_train:]
    if labels is not None:  # balance the test set afresh: the rest begins in the middle of a round
        rest = rest[class_balanced_order(labels[rest], rng)]
    return train, rest[:n_test]
