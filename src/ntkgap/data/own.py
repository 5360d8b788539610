"""A user's own examples: arrays, tensors, frames and torch data sets, made one pair of arrays x and y."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ntkgap.data.dataset import Dataset, check_plain
from ntkgap.errors import DataError, reason


class Examples(NamedTuple):
    """All examples a user has.

    Attributes:
        x: inputs, [n, ...].
        y: labels [n], or targets [n, C].
        where: what messages call them.
    """

    x: np.ndarray
    y: np.ndarray
    where: str


def is_own(data: object) -> bool:
    """Whether data are given themselves, rather than by a name."""
    return isinstance(data, Dataset | tuple | list | Mapping | pd.DataFrame | TorchDataset | DataLoader)


def examples_of(data: Any, target: str | None = None) -> Examples:
    """Arrays x and y of whatever holds a user's examples.

    Args:
        data: a pair (x, y) of arrays, tensors, lists or frames; a mapping with ``"x"`` and ``"y"``; a frame with a
            column of targets; a ``Dataset``; or a torch data set or loader of pairs (a loader is read once, in its
            order).
        target: name of the frame's column of targets.

    Raises:
        DataError: if there are no such pairs in it.
    """
    if isinstance(data, pd.DataFrame):
        return from_frame(data, target, "the frame")
    if target is not None:
        raise DataError("target= names a column of a frame or of a table; these data have no columns")
    if isinstance(data, Dataset):
        return Examples(_array("x", data.x), _array("y", _labels(data)), "the Dataset")
    if isinstance(data, Mapping):
        if missing := {"x", "y"} - set(data):
            raise DataError(f"the mapping has keys {sorted(map(str, data))} but needs {sorted(missing)} too")
        return Examples(_array("x", data["x"]), _array("y", data["y"]), "the mapping")
    if isinstance(data, DataLoader):
        batches = [_pair(batch, "the loader") for batch in data]
        if not batches:
            raise DataError("the loader is empty")
        x, y = (np.concatenate([_array(name, b[k]) for b in batches]) for k, name in enumerate("xy"))
        return Examples(x, y, "the loader")
    if isinstance(data, TorchDataset):
        pairs = [_pair(data[i], "the data set") for i in range(_length(data))]
        x, y = (np.stack([_array(name, pair[k]) for pair in pairs]) for k, name in enumerate("xy"))
        return Examples(x, y, "the data set")
    x, y = _pair(data, "data")
    return Examples(_array("x", x), _array("y", y), "data (x, y)")


def from_frame(frame: pd.DataFrame, target: str | None, where: str) -> Examples:
    """Columns of numbers as inputs, one column as targets.

    Raises:
        DataError: if the target is no column, another column holds no numbers or lacks some, or a column has
            numbers with a few texts among them.
    """
    columns = [str(column) for column in frame.columns]
    if target is None or target not in columns:
        raise DataError(
            f"{where} has columns {_some(columns)}; say which one holds the targets: target=..., on the command "
            "line --target, in a preset options: {target: ...}"
        )
    if twice := sorted({c for c in columns if columns.count(c) > 1}):
        raise DataError(f"{where} has several columns called {_some(twice)}; give each a name of its own")
    if not len(frame):
        raise DataError(f"{where} has columns, but no row")
    for column in frame.columns:
        _check_texts(frame[column], where, is_target=str(column) == target)
    inputs = frame.drop(columns=frame.columns[columns.index(target)])
    text = [str(c) for c in inputs.columns if not _holds_numbers(inputs[c])]
    if text:
        raise DataError(
            f"{where}: {_some(text)} hold no numbers; leave them out, or make indicators of them with "
            "pandas.get_dummies"
        )
    for column in frame.columns:
        if gaps := int(frame[column].isna().sum()):
            row = int(np.argmax(frame[column].isna().to_numpy()))
            raise DataError(
                f"{where}: column {column!r} lacks {gaps} of {len(frame)} values (the first in row {row}); drop "
                "or impute them"
            )
    y = frame.iloc[:, columns.index(target)]
    return Examples(inputs.to_numpy(dtype=np.float64), np.asarray(y.tolist()), where)


def _labels(data: Dataset) -> Tensor:
    """Whole numbers for the classes of target columns or signs; targets of a regression as they are."""
    if data.n_classes is None:
        return data.y
    return (data.y[:, 0] > 0).long() if data.n_outputs == 1 else data.y.argmax(dim=1)


def _holds_numbers(column: "pd.Series[Any]") -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)


def _check_texts(column: "pd.Series[Any]", where: str, is_target: bool) -> None:
    """Refuse a few texts among numbers: a target would silently be taken for classes.

    Raises:
        DataError: naming the column, the row and what is there.
    """
    if _holds_numbers(column) or not pd.api.types.is_object_dtype(column) | pd.api.types.is_string_dtype(column):
        return
    is_text = (pd.to_numeric(column.astype(str), errors="coerce").isna() & column.notna()).to_numpy()
    # Half and half may be classes, some of which have numbers for names.
    if 0 < int(is_text.sum()) < (len(column) / 2 if is_target else len(column)):
        row = int(np.argmax(is_text))
        raise DataError(
            f"{where}: column {column.name!r} holds numbers, but text in {int(is_text.sum())} of {len(column)} "
            f"rows (the first in row {row}: {str(column.iloc[row])[:40]!r}); fix or drop these rows"
        )


def _some(names: list[str], most: int = 20) -> str:
    """The names, or the first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name[:80] for name in names[:most]) + more


def _pair(item: Any, where: str) -> tuple[Any, Any]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        got = f"{len(item)} things" if isinstance(item, tuple | list) else type(item).__name__
        raise DataError(f"{where} must give pairs (x, y), inputs and targets, got {got}")
    return item[0], item[1]


def _length(data: TorchDataset) -> int:
    try:
        n = len(data)  # type: ignore[arg-type]
    except TypeError as error:
        raise DataError("the data set has no length; draw examples from it and pass them as (x, y)") from error
    if n == 0:
        raise DataError("the data set is empty")
    return n


def _array(name: str, values: Any) -> np.ndarray:
    """As a NumPy array, on the CPU.

    Raises:
        DataError: if it is none, or would lose something by becoming one.
    """
    if isinstance(values, Tensor):
        check_plain(name, values)
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    if hasattr(values, "toarray"):
        raise DataError(f"{name} is sparse, a {type(values).__name__}; pass {name}.toarray()")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise DataError(f"{name} has masked entries; drop these examples, or fill the entries")
    try:
        array = np.asarray(values)
        # Columns of a frame hold texts as objects.
        is_text = array.dtype == object and all(isinstance(value, str) for value in array.flat)
        return array.astype(str) if is_text else array
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise DataError(f"{name} is no array ({reason(error)}); all examples must have one shape") from error
