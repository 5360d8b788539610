"""Tables with classes: mushrooms that are edible or not, and states of the space shuttle's radiators."""

from pathlib import Path

import numpy as np
import torch

from ntkgap.data.dataset import Dataset, encode_classes, scale_inputs
from ntkgap.data.files import Source, damaged, find_files, read_text
from ntkgap.data.sampling import check_sizes, split
from ntkgap.errors import DataError, reason

MUSHROOM = Source(
    "mushroom",
    (("bandits/mushroom.data",), ("mushroom/agaricus-lepiota.data",)),
    "https://archive.ics.uci.edu/dataset/73/mushroom",
)
SHUTTLE = Source(
    "shuttle",
    (("bandits/shuttle.trn", "bandits/shuttle.tst"), ("shuttle/shuttle.trn", "shuttle/shuttle.tst")),
    "https://archive.ics.uci.edu/dataset/148/statlog+shuttle",
)

MUSHROOM_CLASSES = ("e", "p")
MUSHROOM_COLUMNS = 23

# As numbered in the original files; some copies have names, two for each valve.
SHUTTLE_CLASSES = ("Rad Flow", "Fpv Close", "Fpv Open", "High", "Bypass", "Bpv Close", "Bpv Open")
SHUTTLE_LONG_WORDS = {"Radiator": "Rad", "Flow Proportioning Valve": "Fpv", "Bipropellant Valve": "Bpv"}
SHUTTLE_FEATURES = 9


def mushroom(
    n_train: int = 256,
    n_test: int = 512,
    seed: int = 0,
    *,
    scaling: str = "none",
    targets: str = "one_hot",
    root: str | Path | None = None,
) -> tuple[Dataset, Dataset]:
    """Draw training and test sets from the 8124 mushrooms; class 0 is edible, class 1 poisonous.

    Each of the 22 attributes becomes one column for each value that occurs in the file, 1 where it is the
    example's, else 0; an unknown value (``?``) counts as a value of its own. Draws are uniform, without
    replacement.

    Args:
        n_train: number of training examples; n_train + n_test is at most 8124.
        n_test: number of test examples.
        seed: the same seed gives the same draw.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``.
        targets: ``"one_hot"``, ``"plus_minus"`` or, for two classes, ``"sign"``.
        root: the folder with data; if not given, ``$NTKGAP_DATA``, then the user's data directory.

    Returns:
        Training and test set with x [n, 117] and y [n, 2], float32.

    Raises:
        DataError: if the file is missing or damaged, more examples are asked for than there are, or an option is
            unknown.
    """
    (file,) = find_files(MUSHROOM, root)
    rows = [line.split(",") for line in read_text(file).split()]
    for number, row in enumerate(rows, start=1):
        if len(row) != MUSHROOM_COLUMNS or row[0] not in MUSHROOM_CLASSES:
            raise damaged(
                file,
                f"line {number} is no class e or p with {MUSHROOM_COLUMNS - 1} attributes, separated by commas",
            )
    train, test = split(len(rows), n_train, n_test, np.random.default_rng(seed))
    letters = np.array(rows)
    attributes = letters.T[1:]
    x = np.concatenate([column[:, None] == np.unique(column) for column in attributes], axis=1)
    x_all = torch.as_tensor(x, dtype=torch.float32)
    y = encode_classes(torch.as_tensor(letters[:, 0] == "p"), 2, targets)
    x_train, x_test = scale_inputs(x_all[train], x_all[test], scaling)
    return Dataset(x_train, y[train], 2), Dataset(x_test, y[test], 2)


def shuttle(
    n_train: int = 256,
    n_test: int = 512,
    seed: int = 0,
    *,
    scaling: str = "standardize",
    targets: str = "one_hot",
    root: str | Path | None = None,
) -> tuple[Dataset, Dataset]:
    """Draw training and test sets from the shuttle's 43500 training and 14500 test rows.

    Classes, in the order of the columns of y: Rad Flow (about 79 %), Fpv Close, Fpv Open, High, Bypass, Bpv Close,
    Bpv Open. Draws are uniform, without replacement: rare classes may be absent.

    Args:
        n_train: number of training examples.
        n_test: number of test examples.
        seed: the same seed gives the same draw.
        scaling: ``"standardize"``, ``"unit_norm"`` or ``"none"``.
        targets: ``"one_hot"``, ``"plus_minus"`` or, for two classes, ``"sign"``.
        root: the folder with data; if not given, ``$NTKGAP_DATA``, then the user's data directory.

    Returns:
        Training and test set with x [n, 9] and y [n, 7], float32.

    Raises:
        DataError: if a file is missing or damaged, more examples are asked for than there are, or an option is
            unknown.
    """
    check_sizes(n_train, n_test)
    rng = np.random.default_rng(seed)
    xs, ys = [], []
    for file, name, n in zip(find_files(SHUTTLE, root), ("n_train", "n_test"), (n_train, n_test), strict=True):
        features, labels = _read_shuttle(file)
        if n > len(labels):
            raise DataError(f"{name}={n}, but {file} has {len(labels)} rows; ask for fewer")
        drawn = rng.permutation(len(labels))[:n]
        xs.append(torch.as_tensor(features[drawn], dtype=torch.float64))
        ys.append(encode_classes(torch.as_tensor(labels[drawn]), len(SHUTTLE_CLASSES), targets))
    x_train, x_test = (x.float() for x in scale_inputs(xs[0], xs[1], scaling))
    return Dataset(x_train, ys[0], len(SHUTTLE_CLASSES)), Dataset(x_test, ys[1], len(SHUTTLE_CLASSES))


def _read_shuttle(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, 9] and classes [n]; rows separated by blanks with numbers 1 … 7, or by commas with names."""
    features: list[np.ndarray] = []
    labels: list[int] = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        entries = line.split(",") if "," in line else line.split()
        try:
            features.append(np.array([int(entry) for entry in entries[:-1]], dtype=np.int64))
            labels.append(_shuttle_class(entries[-1]))
        except (ValueError, IndexError, OverflowError) as error:
            raise damaged(file, f"line {number}: {reason(error)}") from error
        if len(features[-1]) != SHUTTLE_FEATURES:
            raise damaged(file, f"line {number} has {len(features[-1])} features, not {SHUTTLE_FEATURES}")
    return np.stack(features) if features else np.empty((0, SHUTTLE_FEATURES)), np.array(labels)


def _shuttle_class(text: str) -> int:
    if text.isdigit() and 1 <= int(text) <= len(SHUTTLE_CLASSES):
        return int(text) - 1
    for long, short in SHUTTLE_LONG_WORDS.items():
        text = text.replace(long, short)
    if text not in SHUTTLE_CLASSES:
        raise ValueError(f"unknown class {text!r}")
    return SHUTTLE_CLASSES.index(text)
