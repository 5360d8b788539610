"""A user's own arrays, from a NumPy ``.npz`` file."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from ntkgap.data.dataset import Dataset, encode_classes, scale_inputs
from ntkgap.data.sampling import split
from ntkgap.errors import DataError


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Read every array of an ``.npz`` file.

    Raises:
        DataError: if the file is missing, is not an ``.npz`` file, or holds Python objects.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no data file at {path.absolute()}; give the path of an .npz file with arrays x and y")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as .npz ({error}); write it with numpy.savez(path, x=..., y=...)"
        ) from error


def arrays(
    path: str | Path,
    n_train: int,
    n_test: int,
    seed: int,
    *,
    scaling: str = "standardize",
    targets: str = "one_hot",
) -> tuple[Dataset, Dataset]:
    """Draw training and test sets from arrays ``x`` and ``y`` of an ``.npz`` file.

    Integer ``y`` of shape [n] are class labels (the draw is then class-balanced); floating-point ``y``
    of shape [n] or [n, C] are regression targets, taken as they are.

    Args:
        path: the file.
        n_train: number of training examples.
        n_test: number of test examples.
        seed: the same seed gives the same draw.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``.
        targets: ``"one_hot"`` or ``"plus_minus"``; only for class labels.

    Returns:
        Training and test set, float32.

    Raises:
        DataError: if the file, an array, a size or an option cannot be used.
    """
    found = read_npz(path)
    missing = {"x", "y"} - set(found)
    if missing:
        raise DataError(f"{path} has arrays {sorted(found)} but needs {sorted(missing)} too")
    x, y = found["x"], found["y"]
    if len(x) != len(y):
        raise DataError(f"{path}: x has {len(x)} examples but y has {len(y)}; they must match")
    is_labels = np.issubdtype(y.dtype, np.integer) and y.ndim == 1
    labels = y if is_labels else None
    train, test = split(len(x), n_train, n_test, np.random.default_rng(seed), labels)
    n_classes = None
    if is_labels:
        classes, codes = np.unique(y, return_inverse=True)
        n_classes = len(classes)
        y_all = encode_classes(torch.as_tensor(codes), n_classes, targets)
    else:
        y_all = torch.as_tensor(y.reshape(len(y), -1), dtype=torch.float32)
    x_all = torch.as_tensor(x.reshape(len(x), -1) if x.ndim == 1 else x, dtype=torch.float32)
    Dataset(x_all, y_all)  # all of it must be finite, whatever this draw happens to pick
    x_train, x_test = scale_inputs(x_all[train], x_all[test], scaling)
    return Dataset(x_train, y_all[train], n_classes), Dataset(x_test, y_all[test], n_classes)
