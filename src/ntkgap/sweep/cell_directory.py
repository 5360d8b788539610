"""The directory of a cell: named by a hash of the cell's configuration, which lies in it as a file.

Names and files are those of signac 2, which wrote stores before: they are read and continued.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntkgap.sweep.files import read_bytes, write_bytes_atomically

CONFIGURATION = "signac_statepoint.json"
NAME = re.compile("[0-9a-f]{32}")
_encoded = json.JSONEncoder(sort_keys=True).encode


class Damaged(Exception):
    """A configuration is not what its directory's name says."""


def name_and_text(configuration: Mapping[str, Any]) -> tuple[str, bytes]:
    """What the directory of a cell is called, and what its file holds."""
    text = _encoded(configuration).encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest(), text


def names_in(workspace: Path) -> list[str]:
    """What the directories of all cells are called; none where there is no folder.

    Raises:
        OSError: if the folder cannot be listed.
    """
    try:
        return [name for name in os.listdir(workspace) if NAME.fullmatch(name)]
    except FileNotFoundError:
        return []


def read_configuration(directory: Path) -> bytes | None:
    """The text of the file in a directory; None where a killed process has left a directory without it.

    Raises:
        OSError: if it cannot be read.
    """
    try:
        text = read_bytes(f"{directory}{os.sep}{CONFIGURATION}")
    except (FileNotFoundError, NotADirectoryError):
        text = b""
    if (
        not text
        and directory.is_dir()
        and all(n.startswith(".") or n == CONFIGURATION for n in os.listdir(directory))
    ):
        return None
    return text


def parse_configuration(text: bytes, name: str) -> Any:
    """What a text in the directory of a name says.

    Raises:
        Damaged: if it is not what the name says.
    """
    try:
        configuration = json.loads(text)
        right = _named(text, name) or name_and_text(configuration)[0] == name
    except (ValueError, TypeError, RecursionError) as error:
        raise Damaged(str(error)) from error
    if not right:
        raise Damaged("it is of another cell")
    return configuration


def has_configuration(directory: Path, text: bytes) -> bool:
    """Whether a cell's directory is there, is no link, and holds exactly this text.

    Raises:
        OSError: if it cannot be read.
    """
    try:
        return read_bytes(f"{directory}{os.sep}{CONFIGURATION}") == text and not os.path.islink(directory)
    except (FileNotFoundError, NotADirectoryError):
        return False


def write_configuration(directory: Path, text: bytes) -> None:
    """Make a cell's directory, unless it is there and whole.

    Raises:
        OSError: if it cannot be made, or is a link: what is written there would land elsewhere.
    """
    path = f"{directory}{os.sep}{CONFIGURATION}"
    try:
        found = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        directory.mkdir(parents=True, exist_ok=True)
        found = b""
    if os.path.islink(directory):
        raise OSError(f"{directory} is a link, which may lead anywhere; put a directory in its place")
    if found != text and not _is_whole(found, directory.name):
        # Not forced to the disk: it can be made again from the plan, and its name says what it must hold.
        write_bytes_atomically(Path(path), text, durable=False)


def _is_whole(text: bytes, name: str) -> bool:
    """Whether a text written otherwise, such as by signac, is the configuration of this name."""
    try:
        return name_and_text(json.loads(text))[0] == name
    except (ValueError, TypeError, RecursionError):
        return False


def _named(text: bytes, name: str) -> bool:
    return hashlib.md5(text, usedforsecurity=False).hexdigest() == name
