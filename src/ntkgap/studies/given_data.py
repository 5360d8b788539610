"""Data that a user gives as arrays, frames or torch data sets: known by content, sent to workers as a file."""

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ntkgap.data.own import Examples, examples_of
from ntkgap.errors import DataError

# What a cell calls them; their fingerprint tells them apart.
GIVEN = "given data"

_KNOWN: dict[str, Examples] = {}


def remember(data: Any, target: str | None = None) -> str:
    """Make data known to this process, and return the fingerprint of their content.

    Args:
        data: whatever ``examples_of`` takes.
        target: name of the column of targets of a frame.

    Raises:
        DataError: if they are no pairs of inputs and targets.
    """
    found = examples_of(data, target)
    digest = hashlib.sha256()
    for array in (found.x, found.y):
        content = np.ascontiguousarray(array)
        if content.dtype.hasobject:
            content = content.astype(str)
        digest.update(f"{content.dtype.str}{content.shape}".encode() + content.tobytes())
    key = digest.hexdigest()[:16]
    _KNOWN[key] = found
    return key


def given(fingerprint: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The arrays x and y of a fingerprint.

    Raises:
        DataError: if the user has not given them to this process.
    """
    if fingerprint not in _KNOWN:
        raise DataError(
            "the data of this study were given as arrays, and are not kept with it; give them again, data=(x, y)"
        )
    found = _KNOWN[fingerprint]
    return found.x, found.y


def files(fingerprints: set[str | None]) -> dict[str, str]:
    """Where other processes find the data of these fingerprints.

    Raises:
        DataError: if the user has not given them to this process.
    """
    for key in fingerprints:
        given(key)
    return {key: _file(key) for key in fingerprints if key is not None}


def receive(sent: Mapping[str, str]) -> None:
    """Make data known that the process which the user runs has sent."""
    for key, file in sent.items():
        if key not in _KNOWN:
            with np.load(file, allow_pickle=False) as arrays:
                _KNOWN[key] = Examples(arrays["x"], arrays["y"], GIVEN)


@cache
def _file(key: str) -> str:
    path = _folder() / f"{key}.npz"
    x, y = given(key)
    np.savez(path, x=x, y=y.astype(str) if y.dtype.hasobject else y)
    return str(path)


@cache
def _folder() -> Path:
    """A folder of this process, removed when it ends."""
    folder = tempfile.mkdtemp(prefix="ntkgap-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
