"""A user's own arrays, from a NumPy ``.npz`` file."""

import zlib
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
        DataError: if the file is missing, is not an ``.npz`` file, or holds what is not an array.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no data file at {path.absolute()}; give the path of an .npz file with arrays x and y")
    try:
        with path.open("rb") as file:  # of a path, numpy leaves a broken archive open
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("it is a single array, as of .npy")
            found = {name: loaded[name] for name in loaded.files}
        if others := [name for name, array in found.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"it holds files that are no arrays: {', '.join(others)}")
        return found
    # A RuntimeError is what zip archives raise that are encrypted or of an unknown compression.
    except (ValueError, OSError, EOFError, BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(f"{path} cannot be read as .npz ({error}); write it with numpy.savez") from error


def arrays(
    path: str | Path,
    n_train: int = 256,
    n_test: int = 512,
    seed: int = 0,
    *,
    scaling: str = "standardize",
    targets: str = "one_hot",
) -> tuple[Dataset, Dataset]:
    """Draw training and test sets from arrays ``x`` and ``y`` of an ``.npz`` file.

    Whole numbers, booleans or texts in ``y``, of shape [n] or [n, 1], are class labels (the draw is then
    class-balanced); floating-point ``y`` of shape [n] or [n, C] are regression targets, taken as they are.

    Args:
        path: the file.
        n_train: number of training examples.
        n_test: number of test examples.
        seed: the same seed gives the same draw.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``.
        targets: ``"one_hot"``, ``"plus_minus"`` or, for two classes, ``"sign"``; only for class labels.

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
    _check_arrays(path, x, y)
    y = y.reshape(len(y), -1)
    is_labels = y.dtype.kind != "f"
    labels = y[:, 0] if is_labels else None
    train, test = split(len(x), n_train, n_test, np.random.default_rng(seed), labels)
    n_classes = None
    if is_labels:
        classes, codes = np.unique(y, return_inverse=True)
        n_classes = len(classes)
        y_all = encode_classes(torch.as_tensor(codes.reshape(-1)), n_classes, targets)
    else:
        y_all = torch.as_tensor(y, dtype=torch.float32)
    x_all = torch.as_tensor(x.reshape(len(x), -1) if x.ndim == 1 else x, dtype=torch.float32)
    Dataset(x_all, y_all)  # all of it must be finite, whatever this draw happens to pick
    x_train, x_test = scale_inputs(x_all[train], x_all[test], scaling)
    return Dataset(x_train, y_all[train], n_classes), Dataset(x_test, y_all[test], n_classes)


def _check_arrays(path: str | Path, x: np.ndarray, y: np.ndarray) -> None:
    """Refuse arrays that are not numbers, labels or of matching length, and inputs that are all the same.

    Raises:
        DataError: naming the array and what is wrong with it.
    """
    for name, array, kinds in (("x", x, "fiub"), ("y", y, "fiubUS")):
        if array.ndim == 0:
            raise DataError(f"{path}: {name} is a single number; it needs one entry an example")
        if array.dtype.kind not in kinds:
            raise DataError(f"{path}: {name} holds {array.dtype}, which are no real numbers; convert it first")
    if len(x) != len(y):
        raise DataError(f"{path}: x has {len(x)} examples but y has {len(y)}; they must match")
    if y.ndim > 2 or (y.dtype.kind != "f" and y.size != len(y)):
        raise DataError(
            f"{path}: y has shape {y.shape} and type {y.dtype}; it must be [n] or [n, 1] for class labels, "
            "[n] or [n, C] and floating point for regression targets"
        )
    if y.dtype.kind != "f" and len(np.unique(y)) > max(2, len(y) // 2):
        raise DataError(
            f"{path}: y has {len(np.unique(y))} different labels for {len(y)} examples; if they are regression "
            "targets, store them as floating-point numbers"
        )
    if len(x) > 1 and (x == x[:1]).all():
        raise DataError(f"{path}: all {len(x)} inputs x are the same; give inputs that differ")
