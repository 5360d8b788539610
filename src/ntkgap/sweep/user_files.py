"""Python files of a user: loaded by their path, and told apart by what stands in them."""

import ast
import hashlib
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from ntkgap.errors import StudyError


def load_file(path: Path) -> types.ModuleType:
    """The module in a file, and whatever it imports from beside it; loaded once for the same text.

    Nothing is written beside the file. Its folder comes last on the path, so that no file of it takes the place of
    a module of the standard library, but before those of files that were loaded earlier.

    Raises:
        StudyError: if there is no such file, or it cannot be run; the message names the line.
    """
    path = path.expanduser().absolute()
    name = f"ntkgap_file_{re.sub(r'[^0-9a-zA-Z_]', '_', path.stem)}_{fingerprint(path)}"
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = str(path)
    _forget_modules_like(path)
    _look_last_in(str(path.parent))
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.modules[name] = module  # where dataclasses and pickles look for it
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception | SystemExit):
            raise
        raise StudyError(f"{path} cannot be run: {describe_error(error, path)}") from error
    finally:
        sys.dont_write_bytecode = written
    return module


# Folders that were added to the path, of files that were loaded: the latest first.
FOLDERS: list[str] = []


def _look_last_in(folder: str) -> None:
    """Put a folder on the path, after all that was there but for folders of other files."""
    if folder in sys.path and folder not in FOLDERS:
        return
    sys.path[:] = [entry for entry in sys.path if entry not in FOLDERS]
    FOLDERS[:] = [folder, *(entry for entry in FOLDERS if entry != folder)]
    sys.path += FOLDERS


def _forget_modules_like(path: Path) -> None:
    """Have what a file imports from beside it imported again: it may have changed, or be another folder's."""
    beside = source_files(path)[1:]
    below = [file.relative_to(path.parent) for file in beside if file.is_relative_to(path.parent)]
    names = {".".join(file.with_suffix("").parts) for file in below}
    names |= {name.removesuffix(".__init__") for name in names}
    for key, loaded in list(sys.modules.items()):
        file = Path(getattr(loaded, "__file__", None) or "")
        if file in beside or (key in names and any(file.is_relative_to(folder) for folder in FOLDERS)):
            del sys.modules[key]


def describe_error(error: BaseException, path: Path | None = None) -> str:
    """An exception in a line, with the last place in a user's file if it is known."""
    if isinstance(error, SyntaxError):
        return error.msg if error.lineno is None else f"{error.msg} in line {error.lineno}"
    line, trace = None, error.__traceback__
    while trace is not None:
        if path is not None and trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    text = " ".join(str(error).split())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return what if line is None else f"{what} (line {line})"


def source_files(path: Path, root: Path | None = None) -> list[Path]:
    """The file, and those beside it that it imports, or they do.

    Args:
        path: of the file.
        root: the folder in which its imports begin, that of the outermost package; the file's own if not given.

    Raises:
        StudyError: if there is no such file.
    """
    path = path.expanduser().absolute()
    if not path.is_file():
        raise StudyError(f"there is no file {path}")
    root = path.parent if root is None else root
    found, waiting = [path], [path]
    while waiting:
        importer = waiting.pop()
        for level, name in _imported(importer):
            folder = importer.parents[level - 1] if 0 < level <= len(importer.parents) else root
            for beside in _files_of(folder, name):
                if beside not in found:
                    found.append(beside)
                    waiting.append(beside)
    return [path, *sorted(found[1:])]


def fingerprint(path: Path, root: Path | None = None) -> str:
    """Hash of a file's text and of what it imports from beside it.

    Args:
        path: of the file.
        root: as of ``source_files``.

    Raises:
        StudyError: if there is no such file.
    """
    digest = hashlib.sha256()
    for file in source_files(path, root):
        text = file.read_bytes()
        digest.update(f"{file.name} {len(text)} ".encode() + text)
    return digest.hexdigest()[:16]


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """Dotted names that a file imports, each with its number of leading dots; none of one that is no Python."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield node.level, module
            yield from ((node.level, f"{module}.{alias.name}".strip(".")) for alias in node.names)


def _files_of(folder: Path, name: str) -> list[Path]:
    """Files of a module below a folder: of every package on the way, and its own."""
    parts, found = name.split("."), []
    for i in range(1, len(parts) + 1):
        stem = folder.joinpath(*parts[:i])
        found += [
            file for file in (stem.with_suffix(".py"), stem / "__init__.py") if parts[i - 1] and file.is_file()
        ]
    return found
