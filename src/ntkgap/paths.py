"""Paths as users write them: questions about them are answered, whatever the path."""

import os
from pathlib import Path

from ntkgap.errors import StoreError


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with ``~`` at its beginning as a shell reads it; ``--store=~/runs`` reaches a program unread.

    Raises:
        StoreError: if it is empty.
    """
    if not os.fspath(path).strip():
        raise StoreError("an empty text names no file or folder; leave the option out, or write . for this folder")
    return Path(os.path.expanduser(path))


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file; no, where ``Path`` raises: of a name that is too long or holds a zero byte."""
    return os.path.isfile(path)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder; as ``is_file``."""
    return os.path.isdir(path)
