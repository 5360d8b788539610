"""A cell as a store holds it, and the reading of its files."""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntkgap.errors import StoreError, reason
from ntkgap.sweep.compute_cell import FAILURE, RESULT, outcome
from ntkgap.sweep.file_contents import fault_of_failure, fault_of_result
from ntkgap.sweep.files import number, read_bytes, read_json
from ntkgap.sweep.study import Cell, Result

# How ``compute_cell`` ends a result.
LAST = re.compile(rb'"seconds": (\d+(?:\.\d+)?)\s*\}\s*$')
REMEDY = "restore it, or remove its directory and run again to compute it anew"


def read_checked(path: Path, fault_of: Callable[[Any], str], remedy: str = REMEDY) -> dict[str, Any]:
    """Read a JSON file of a store.

    Args:
        path: of the file.
        fault_of: says what is wrong with what it holds; nothing if all is right.
        remedy: what to do if it is damaged.

    Raises:
        StoreError: if it cannot be read, or has not the shape that is asked for; the message names the file.
    """
    try:
        value = read_json(path)
    except OSError as error:
        raise unreadable(path, error) from error
    # Deep nesting is a RecursionError; whole numbers of thousands of digits are a ValueError.
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({reason(error)}); {remedy}") from error
    if fault := fault_of(value):
        raise StoreError(f"{path} is damaged ({fault}); {remedy}")
    return value


def unreadable(path: Path, error: OSError) -> StoreError:
    """Of a file or folder that may be as good as new, but that the operating system does not give."""
    return StoreError(
        f"{path} cannot be read ({error.strerror or reason(error)}), which does not say that it is damaged: give "
        "this user the right to read it, or see to the disk, and run the command again"
    )


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Name the store where the operating system refuses to write.

    Raises:
        StoreError: if it does.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write to the store {path}: {error}") from error


@dataclass(frozen=True)
class StoredCell:
    """A cell as the store holds it: its configuration, its directory, and what came of it.

    Attributes:
        cell: the configuration.
        directory: where its files are.
    """

    cell: Cell
    directory: Path

    @property
    def state(self) -> str:
        """``"done"``, ``"failed"`` or ``"pending"``.

        Raises:
            StoreError: if the directory cannot be read.
        """
        try:
            return outcome(self.directory) or "pending"
        except OSError as error:
            raise unreadable(self.directory, error) from error

    def result(self) -> Result:
        """What a computed cell yielded.

        Raises:
            StoreError: if the file is damaged, or cannot be read.
        """
        return read_checked(self.directory / RESULT, fault_of_result)

    def seconds(self) -> float:
        """How long a computed cell took: only the end of its file is read, where that is written.

        Raises:
            StoreError: if the file is damaged, or cannot be read.
        """
        try:
            found = LAST.search(read_bytes(f"{self.directory}{os.sep}{RESULT}", last=60))
        except OSError as error:
            raise unreadable(self.directory / RESULT, error) from error
        return float(found[1]) if found else float(number(self.result()["seconds"]))

    def failure(self) -> dict[str, str]:
        """The ``message`` and ``traceback`` of a failed cell.

        Raises:
            StoreError: if the file is damaged, or cannot be read.
        """
        return read_checked(self.directory / FAILURE, fault_of_failure)

    def forget_failure(self) -> None:
        """Make a failed cell pending again."""
        (self.directory / FAILURE).unlink(missing_ok=True)


class ReadCell(StoredCell):
    """A cell whose files are read once, when they are first asked for, and then stay as they were."""

    @functools.cached_property
    def state(self) -> str:
        """``"done"``, ``"failed"`` or ``"pending"``."""
        return super().state

    @functools.cached_property
    def _result(self) -> Result:
        return super().result()

    def result(self) -> Result:
        """What a computed cell yielded."""
        return self._result


def check_place(stored: StoredCell) -> None:
    """Refuse a cell that no study has made: without the name of a problem, a width and a seed.

    Raises:
        StoreError: naming its directory.
    """
    for name in ("problem", "width", "seed"):
        value = stored.cell.get(name)
        is_right = isinstance(value, str if name == "problem" else int) and not isinstance(value, bool)
        if not is_right:
            raise StoreError(
                f"the configuration of the cell in {stored.directory} is damaged (it has no {name}); {REMEDY}"
            )
