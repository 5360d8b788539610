"""Training and test sets from a user's own arrays and files."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ntkgap.data.archives import read_npz
from ntkgap.data.dataset import IMAGE_AXES, Dataset, deviations, encode_classes, scale_inputs
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


def own_names(names: str) -> list[str]:
    """The name of every file in a text like ``a.npz,b.npz`` or ``a.npz:x,y,b.npz:x,y``; none in other texts.

    Raises:
        DataError: if something else stands beside the files.
    """
    found: list[str] = []
    waiting = ""  # of a file whose name has a comma in it
    for piece in names.split(","):
        whole = f"{waiting},{piece}" if waiting else piece.strip() if found else piece
        if own_file(whole):
            found.append(whole)
            waiting = ""
        elif found and not waiting and ".npz:" in found[-1]:
            found[-1] += f",{piece}"
        else:
            waiting = whole
    if found and waiting:
        raise DataError(
            f"{names!r} names {', '.join(found)}, but {waiting!r} does not end in .npz, .csv or .parquet"
        )
    return found


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
    x, y, classes, where = read_examples(data, target)
    labels, units = None if classes is None else y.numpy(), None
    train, test = split(len(x), n_train, n_test, np.random.default_rng(seed), labels)
    if classes is not None:
        columns = encode_classes(y, len(classes), targets or "one_hot")
        y_train, y_test = columns[train], columns[test]
    else:
        check_regression_targets(targets)
        y_train, y_test = scale_inputs(y[train], y[test], targets or "standardize")
        units = None if targets == "none" else deviations(y[train]).float()
    x_train, x_test = scale_inputs(x[train], x[test], scaling, IMAGE_AXES if x.ndim == 4 else (0,))
    n_classes = None if classes is None else len(classes)
    pairs = ((x_train, y_train), (x_test, y_test))
    one, two = (Dataset(x.float(), y.float(), n_classes, units) for x, y in pairs)
    _check_rounding(where, x_train, one.x)
    return one, two


class OwnExamples(NamedTuple):
    """All of a user's examples, checked and unscaled.

    Attributes:
        x: inputs, [n, ...], float64.
        y: number of each example's class, [n]; or targets of a regression, [n, C], float64.
        classes: label of every class, ascending; None for a regression.
        where: what messages call them.
    """

    x: Tensor
    y: Tensor
    classes: list[Any] | None
    where: str


def read_examples(data: Any, target: str | None = None) -> OwnExamples:
    """Read and check all the examples there are.

    Args:
        data: as ``arrays`` takes them.
        target: name of the table's column of targets.

    Raises:
        DataError: if a file or an array cannot be used.
    """
    x, y, where = _examples(data, target)
    _check_arrays(where, x, y)
    inputs, classes = torch.as_tensor(_native(x.reshape(len(x), -1) if x.ndim == 1 else x)), None
    if y.dtype.kind == "f":
        numbers = torch.as_tensor(_native(y.reshape(len(y), -1)))
    else:
        found, codes = np.unique(y, return_inverse=True)
        classes = [c.decode(errors="replace") if isinstance(c, bytes) else c for c in found.tolist()]
        numbers = torch.as_tensor(codes.reshape(-1))
    try:  # all of it must be finite, whatever a draw happens to pick
        Dataset(inputs, numbers.reshape(len(numbers), -1).double())
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return OwnExamples(inputs, numbers, classes, where)


def check_regression_targets(targets: str | None) -> None:
    """Refuse what is no scaling of the targets of a regression.

    Raises:
        DataError: naming those there are.
    """
    if targets not in (None, "standardize", "none"):
        raise DataError(f"unknown targets {targets!r} for regression; choose 'standardize' or 'none'")


def _examples(data: Any, target: str | None) -> Examples:
    if not isinstance(data, str | Path):
        return examples_of(data, target)
    if len(several := own_names(str(data))) > 1:
        raise DataError(
            f"{data} names {len(several)} files, but the examples of one are asked for; give one (several are "
            "for load_stream('tasks', ...))"
        )
    file, keys = own_file(str(data)) or (Path(data), [])
    if file.suffix in TABLES:
        return from_frame(read_table(file), target, str(file))
    if target is not None:
        raise DataError(f"target= names a column of a table; for {file} name two arrays: {file}:x,y")
    if keys and len(keys) != 2:
        plural = "s" if len(keys) > 1 else ""
        raise DataError(f"{data} names {len(keys)} array{plural}; name two, inputs and targets: {file}:x,y")
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
        raise DataError(f"{where}: all {len(y)} labels are the same, {y.flat[0]}; give examples of two classes")
    if len(x) > 1 and (x == x[:1]).all():
        raise DataError(f"{where}: all {len(x)} inputs x are the same; give inputs that differ")
