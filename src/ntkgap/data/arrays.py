"""Training and test sets from a user's own arrays and files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ntkgap.data.archives import read_npz
from ntkgap.data.dataset import IMAGE_AXES, Dataset, encode_classes, scale_inputs
from ntkgap.data.files import expanded
from ntkgap.data.own import Examples, examples_of, from_frame
from ntkgap.data.sampling import split
from ntkgap.data.tables import TABLES, read_table
from ntkgap.errors import DataError


def own_file(name: str) -> tuple[Path, list[str]] | None:
    """The file and the keys of a name like ``mine.npz`` or ``mine.npz:images,labels``; None for other names."""
    path, colon, keys = name.rpartition(":")
    if colon and path.endswith(".npz"):
        return expanded(path), [key.strip() for key in keys.split(",")]
    return (expanded(name), []) if name.endswith((".npz", *TABLES)) else None


def own_name(path: str, keys: list[str]) -> str:
    """The name that ``own_file`` reads as these; one spelling for the keys that are meant without any."""
    return path if keys in ([], ["x", "y"]) else f"{path}:{','.join(keys)}"


def arrays(
    data: Any,
    n_train: int = 256,
    n_test: int = 512,
    seed: int = 0,
    *,
    scaling: str = "standardize",
    targets: str | None = None,
    target: str | None = None,
) -> tuple[Dataset, Dataset]:
    """Draw training and test sets from one's own examples.

    Whole numbers, booleans or texts in y, of shape [n] or [n, 1], are class labels (the draw is then
    class-balanced); floating-point y of shape [n] or [n, C] are regression targets.

    Args:
        data: what ``examples_of`` takes, or a file: ``"mine.npz"`` with arrays x and y,
            ``"mine.npz:images,labels"`` with arrays of these names, ``"mine.csv"`` or ``"mine.parquet"`` with a
            column of targets.
        n_train: number of training examples.
        n_test: number of test examples.
        seed: the same seed gives the same draw.
        scaling: ``"standardize"`` (to mean 0 and standard deviation 1 over the training set: images [n, C, H, W]
            by channel, anything else by feature), ``"unit_norm"`` (each example), or ``"none"``.
        targets: of classes ``"one_hot"`` (by default), ``"plus_minus"`` or, for two classes, ``"sign"``; of
            regression ``"standardize"`` (by default; over the training set) or ``"none"``.
        target: name of the table's column of targets.

    Returns:
        Training and test set, float32; what is scaled is scaled in float64 first.

    Raises:
        DataError: if a file, an array, a size or an option cannot be used.
    """
    x, y, where = _examples(data, target)
    _check_arrays(where, x, y)
    y = y.reshape(len(y), -1)
    is_labels = y.dtype.kind != "f"
    labels = y[:, 0] if is_labels else None
    train, test = split(len(x), n_train, n_test, np.random.default_rng(seed), labels)
    x_all = torch.as_tensor(_native(x.reshape(len(x), -1) if x.ndim == 1 else x))
    n_classes = None
    if is_labels:
        classes, codes = np.unique(y, return_inverse=True)
        n_classes = len(classes)
        y_all = encode_classes(torch.as_tensor(codes.reshape(-1)), n_classes, targets or "one_hot")
    else:
        y_all = torch.as_tensor(_native(y))
        if targets not in (None, "standardize", "none"):
            raise DataError(f"unknown targets {targets!r} for regression; choose 'standardize' or 'none'")
    Dataset(x_all, y_all)  # all of it must be finite, whatever this draw happens to pick
    y_train, y_test = y_all[train], y_all[test]
    if not is_labels:
        y_train, y_test = scale_inputs(y_train, y_test, targets or "standardize")
    shared = IMAGE_AXES if x_all.ndim == 4 else (0,)
    x_train, x_test = scale_inputs(x_all[train], x_all[test], scaling, shared)
    pairs = ((x_train, y_train), (x_test, y_test))
    one, two = (Dataset(x.float(), y.float(), n_classes) for x, y in pairs)
    _check_rounding(where, x_train, one.x)
    return one, two


def _examples(data: Any, target: str | None) -> Examples:
    if not isinstance(data, str | Path):
        return examples_of(data, target)
    file, keys = own_file(str(data)) or (Path(data), [])
    if file.suffix in TABLES:
        return from_frame(read_table(file), target, str(file))
    if target is not None:
        raise DataError(f"target= names a column of a table; for {file} name two arrays: {file}:x,y")
    if keys and len(keys) != 2:
        raise DataError(f"{data} names {len(keys)} arrays; name two, inputs and targets: {file}:x,y")
    found = read_npz(file, keys)
    if not keys and (missing := {"x", "y"} - set(found)):
        raise DataError(
            f"{file} has arrays {sorted(found)} but needs {sorted(missing)} too; or name two: {file}:key,key"
        )
    x, y = keys or ("x", "y")
    return Examples(found[x], found[y], str(file))


def _native(array: np.ndarray) -> np.ndarray:
    """Real numbers in float64, whatever their size and order of bytes; writable, as torch asks for."""
    return np.require(array, np.float64, ["C", "W"])


def _check_rounding(where: str, exact: torch.Tensor, rounded: torch.Tensor) -> None:
    """Refuse inputs of which float32 makes a constant: large numbers that differ by little, such as times.

    Raises:
        DataError: naming the input and the remedy.
    """
    lost = (exact != exact[:1]).any(dim=0) & (rounded == rounded[:1]).all(dim=0)
    if bool(lost.any()):
        place = lost.nonzero()[0].tolist()
        value = float(exact[(0, *place)])
        raise DataError(
            f"{where}: the values of input {', '.join(map(str, place))} differ, but by too little for float32 "
            f"(the first is {value:.10g}); subtract their mean, or take scaling='standardize'"
        )


def _check_arrays(where: str, x: np.ndarray, y: np.ndarray) -> None:
    """Refuse arrays that are not numbers, labels or of matching length, and inputs that are all the same.

    Raises:
        DataError: naming the array and what is wrong with it.
    """
    for name, array, kinds in (("x", x, "fiub"), ("y", y, "fiubUS")):
        if array.ndim == 0:
            raise DataError(f"{where}: {name} is a single number; it needs one entry an example")
        if array.dtype.kind not in kinds:
            raise DataError(f"{where}: {name} holds {array.dtype}, which are no real numbers; convert it first")
        if array.size == 0:
            raise DataError(f"{where}: {name} has shape {array.shape}, in which there is no example")
    if len(x) != len(y):
        raise DataError(f"{where}: x has {len(x)} examples but y has {len(y)}; they must match")
    if x.ndim == 4 and x.shape[3] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
        raise DataError(
            f"{where}: x has shape {x.shape}, images with their channels last; put them first: "
            "x.transpose(0, 3, 1, 2)"
        )
    if y.ndim > 2 or (y.dtype.kind != "f" and y.size != len(y)):
        raise DataError(
            f"{where}: y has shape {y.shape} and type {y.dtype}; it must be [n] or [n, 1] for class labels, "
            "[n] or [n, C] and floating point for regression targets"
        )
    if y.dtype.kind != "f" and len(np.unique(y)) > max(2, len(y) // 2):
        raise DataError(
            f"{where}: y has {len(np.unique(y))} different labels for {len(y)} examples; if they are regression "
            "targets, store them as floating-point numbers"
        )
    if y.dtype.kind != "f" and len(np.unique(y)) < 2:
        raise DataError(f"{where}: all {len(y)} labels are the same, {y.flat[0]!r}; give examples of two classes")
    if len(x) > 1 and (x == x[:1]).all():
        raise DataError(f"{where}: all {len(x)} inputs x are the same; give inputs that differ")
