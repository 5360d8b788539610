"""Computing one cell and writing down what came of it, in the process that does the work."""

import importlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ntkgap.errors import NtkgapError, StudyError
from ntkgap.sweep.files import write_json
from ntkgap.sweep.study import Cell, Result

RESULT, FAILURE = "result.json", "failure.json"


@dataclass(frozen=True)
class Task:
    """A cell to compute, the function that does it, and the directory for what comes of it."""

    compute: str
    cell: Cell
    directory: Path


def outcome(directory: Path) -> str | None:
    """What has come of the cell in a directory: ``"done"``, ``"failed"``, or None if nothing yet."""
    if (directory / RESULT).is_file():
        return "done"
    return "failed" if (directory / FAILURE).is_file() else None


def resolve(compute: str) -> Callable[[Cell], Result]:
    """Import the function named ``"package.module:function"``.

    Raises:
        StudyError: if there is no such function.
    """
    module_name, _, function_name = compute.partition(":")
    try:
        return getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise StudyError(f"cannot find the function {compute!r} that computes a cell: {error}") from error


def compute_cell(task: Task) -> str:
    """Compute a cell, write ``result.json`` or ``failure.json``, and say ``"done"`` or ``"failed"``.

    Raises:
        OSError: if the file cannot be written.
    """
    start = time.perf_counter()
    try:
        result = resolve(task.compute)(task.cell)
    except Exception as error:  # whatever one cell does must not end the sweep
        message = str(error) if isinstance(error, NtkgapError) else f"{type(error).__name__}: {error}"
        write_json(task.directory / FAILURE, {"message": message, "traceback": traceback.format_exc()})
        return "failed"
    write_json(task.directory / RESULT, {**result, "seconds": round(time.perf_counter() - start, 3)})
    return "done"
