"""The formats in which CIFAR-10 is passed on: binary batches, pickled batches, and ``.npz``."""

from pathlib import Path

import numpy as np

from ntkgap.data.archives import read_npz
from ntkgap.data.files import damaged, read_bytes
from ntkgap.data.pickle_opcodes import UnreadablePickle
from ntkgap.data.pickled_batch import read_pickled_batch
from ntkgap.errors import DataError

PIXELS = (3, 32, 32)
ENTRIES = 3 * 32 * 32


def read_cifar(files: list[Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read CIFAR-10 from training batches and a test batch, or from one ``.npz`` file.

    Args:
        files: the ``.npz`` file, or batches with the test batch last; batches are binary where the name ends in
            ``.bin`` (before ``.gz``), else pickled.

    Returns:
        Training images [n, 3, 32, 32] and labels [n], test images and labels, all uint8.

    Raises:
        DataError: naming the file that cannot be used.
    """
    if files[0].suffix == ".npz":
        return _read_npz(files[0])
    batches = [_read_binary(f) if ".bin" in f.suffixes else _read_pickle(f) for f in files]
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Records of one byte for the label and 3072 for the pixels: red, green, blue, each row by row."""
    content = read_bytes(path)
    if not content or len(content) % (1 + ENTRIES):
        raise damaged(path, f"its length of {len(content)} bytes is no multiple of {1 + ENTRIES}")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1 + ENTRIES)
    return records[:, 1:].reshape(-1, *PIXELS), records[:, 0]


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Arrays x_train, y_train, x_test, y_test of uint8, with the channels last."""
    try:
        found = read_npz(path)
    except DataError as error:
        if error.__cause__ is None:  # it could be read, but is too large
            raise
        raise damaged(path, str(error.__cause__)) from error
    parts: list[np.ndarray] = []
    for part in ("train", "test"):
        missing = {f"x_{part}", f"y_{part}"} - set(found)
        if missing:
            raise damaged(path, f"it has arrays {sorted(found)} but needs {sorted(missing)} too")
        images, labels = found[f"x_{part}"], found[f"y_{part}"].reshape(-1)
        if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3):
            raise damaged(
                path, f"x_{part} is {images.dtype} of shape {images.shape}; it must be uint8 [n, 32, 32, 3]"
            )
        if labels.dtype.kind not in "iu":
            raise damaged(path, f"y_{part} holds {labels.dtype}; it must hold integers")
        parts += [images.transpose(0, 3, 1, 2), labels]
    return parts[0], parts[1], parts[2], parts[3]


def _read_pickle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A mapping with ``data`` [n, 3072] of uint8 and ``labels`` [n], as pickled by Python 2 or 3."""
    try:
        batch = read_pickled_batch(read_bytes(path))
    except UnreadablePickle as error:
        raise damaged(path, str(error)) from error
    missing = [name.decode() for name in (b"data", b"labels") if name not in batch]
    if missing:
        raise damaged(path, f"it has no {' and no '.join(missing)}")
    rows, labels = batch[b"data"], batch[b"labels"]
    if not isinstance(rows, np.ndarray):
        raise damaged(path, f"its data are a {type(rows).__name__}; they must be an array of uint8 [n, {ENTRIES}]")
    if rows.ndim != 2 or rows.shape[1] != ENTRIES:
        raise damaged(path, f"its data are {rows.dtype} of shape {rows.shape}; they must be uint8 [n, {ENTRIES}]")
    if isinstance(labels, list) and all(type(label) is int and 0 <= label <= 9 for label in labels):
        labels = np.array(labels, dtype=np.uint8)
    if not isinstance(labels, np.ndarray) or labels.shape != rows.shape[:1]:
        raise damaged(path, f"its labels must be {len(rows)} integers from 0 to 9, one an image")
    return rows.reshape(-1, *PIXELS), labels
