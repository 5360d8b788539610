"""The 1797 handwritten digits, 8×8 pixels, that come with scikit-learn: real data without a download."""

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from ntkgap.data.dataset import IMAGE_AXES, Dataset, check_flag, encode_classes, scale_inputs
from ntkgap.data.sampling import split


def digits(
    n_train: int = 256,
    n_test: int = 512,
    seed: int = 0,
    *,
    scaling: str = "standardize",
    targets: str = "one_hot",
    flatten: bool = True,
) -> tuple[Dataset, Dataset]:
    """Draw class-balanced training and test sets from the bundled digits.

    Args:
        n_train: number of training examples; n_train + n_test is at most 1797.
        n_test: number of test examples.
        seed: the same seed gives the same draw.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"`` (pixels from 0 to 16).
        targets: ``"one_hot"`` or ``"plus_minus"``.
        flatten: whether to give vectors [n, 64]; False gives images [n, 1, 8, 8], which are standardized by one
            mean and standard deviation over all pixels.

    Returns:
        Training and test set with x [n, 64] or [n, 1, 8, 8] and y [n, 10], float32.

    Raises:
        DataError: if more examples are asked for than there are, or an option is unknown.
    """
    check_flag("flatten", flatten)
    pixels, labels = bundled()
    train, test = split(len(labels), n_train, n_test, np.random.default_rng(seed), labels)
    x = torch.as_tensor(pixels, dtype=torch.float32)
    y = encode_classes(torch.as_tensor(labels), 10, targets)
    if flatten:
        x_train, x_test = scale_inputs(x[train], x[test], scaling)
    else:
        x = x.reshape(-1, 1, 8, 8)
        x_train, x_test = scale_inputs(x[train], x[test], scaling, IMAGE_AXES)
    return Dataset(x_train, y[train], 10), Dataset(x_test, y[test], 10)


@functools.cache
def bundled() -> tuple[np.ndarray, np.ndarray]:
    """Pixels [1797, 64] from 0 to 16 and labels [1797], as ``sklearn.datasets.load_digits`` gives them.

    Read from its file: to import scikit-learn takes two seconds, in every worker of a sweep.
    """
    package = find_spec("sklearn")
    file = Path(package.origin).parent / "datasets/data/digits.csv.gz" if package and package.origin else None
    if file is not None and file.is_file():
        table = np.loadtxt(file, delimiter=",")
        return table[:, :-1], table[:, -1].astype(int)
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return pixels, labels
