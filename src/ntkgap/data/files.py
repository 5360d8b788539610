"""Where data files lie: the folders that are searched, and what to say when nothing is found."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ntkgap.data.limits import check_bytes, max_bytes
from ntkgap.errors import DataError, reason
from ntkgap.paths import expanded, is_file, is_folder

ENVIRONMENT_VARIABLE = "NTKGAP_DATA"


@dataclass(frozen=True)
class Source:
    """The files of a data set.

    Attributes:
        name: of the data set.
        layouts: ways in which the files may lie below a data folder, the preferred one first; each is a tuple
            of paths that are needed together. A path stands for itself and for the same with ``.gz``.
        origin: where to get the files.
    """

    name: str
    layouts: tuple[tuple[str, ...], ...]
    origin: str


def data_folders(root: object = None) -> list[Path]:
    """The folders that are searched, in this order.

    ``root`` alone where it is given; else ``$NTKGAP_DATA`` if set, then ``ntkgap`` in the user's data directory,
    which is ``$XDG_DATA_HOME`` or ``~/.local/share`` on every system.

    Raises:
        DataError: if root is no path.
    """
    if root is not None:
        if not isinstance(root, str | os.PathLike) or not str(root):
            raise DataError(f"root must be the path of a folder with data, got {root!r}")
        return [_absolute(root)]
    folders = [os.environ.get(ENVIRONMENT_VARIABLE), _user_folder()]
    return [_absolute(folder) for folder in folders if folder]


def _absolute(folder: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(expanded(folder)))


def _user_folder() -> Path:
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path("~/.local/share")) / "ntkgap"


def find_files(source: Source, root: object = None) -> list[Path]:
    """The files of a data set, from the first folder that has them all in one layout.

    Raises:
        DataError: if no folder has, saying what was looked for, where, what is missing, and how to get it.
    """
    folders = data_folders(root)
    found_in_part = ""
    for folder in folders:
        for layout in source.layouts:
            files = [_with_or_without_gz(folder / name) for name in layout]
            missing = [name for name, file in zip(layout, files, strict=True) if file is None]
            if not missing:
                return [file for file in files if file is not None]
            if len(missing) < len(layout) and not found_in_part:
                found_in_part = f"; {folder} has some of them but not {', '.join(missing)}"
    where = ", ".join(f"{folder}{'' if is_folder(folder) else ' (there is no such folder)'}" for folder in folders)
    remedy = "give another root=" if root is not None else f"set ${ENVIRONMENT_VARIABLE} or give root="
    raise DataError(
        f"the files of {source.name!r} are not in {where}; looked for: {_describe(source)}{found_in_part}; "
        f"{remedy}, or get them from {source.origin}"
    )


def _with_or_without_gz(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if is_file(p)), None)


def _describe(source: Source) -> str:
    folders_of: dict[str, list[str]] = {}
    for layout in source.layouts:
        names = ", ".join(Path(name).name for name in layout)
        folders_of.setdefault(names, []).append(f"{Path(layout[0]).parent}/")
    ways = [f"{names} in {' or '.join(folders)}" for names, folders in folders_of.items()]
    return "; or ".join(ways) + " (plain or .gz)"


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if its name ends in ``.gz``.

    Raises:
        DataError: if it cannot be read or unpacked, or is larger than data may be.
    """
    try:
        check_bytes(f"the contents of {path}", path.stat().st_size)
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:  # which does not say how long it is
            content = file.read(max_bytes() + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, reason(error)) from error
    check_bytes(f"the contents of {path}, unpacked,", len(content), at_least=True)
    return content


def read_text(path: Path) -> str:
    """The content of a text file, unpacked if its name ends in ``.gz``.

    Raises:
        DataError: if it cannot be read, unpacked or decoded.
    """
    try:
        return read_bytes(path).decode("ascii")
    except UnicodeDecodeError as error:
        raise damaged(path, "it is no plain text") from error


def damaged(path: Path, reason: str) -> DataError:
    """The error to raise for a file whose content is not what it should be."""
    return DataError(f"{path} is damaged or not what its name says: {reason}; delete it and get it again")


def fingerprint(paths: Iterable[Path]) -> str:
    """SHA-256 of the contents of files, one after the other.

    Raises:
        DataError: if a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path} cannot be read: {reason(error)}") from error
    return digest.hexdigest()
