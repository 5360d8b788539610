"""Computing one cell and writing down what came of it, in the process that does the work."""

import functools
import importlib
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ntkgap.errors import NtkgapError, StudyError
from ntkgap.sweep.files import is_there, write_json
from ntkgap.sweep.study import Cell, Supplies
from ntkgap.sweep.user_files import load_file

RESULT, FAILURE = "result.json", "failure.json"


@dataclass(frozen=True)
class Task:
    """A cell to compute, the function that does it, and the directory for what comes of it.

    Attributes:
        compute: name of the function, as ``resolve`` takes it.
        cell: its configuration.
        directory: where its result is written; None for a worker that hands it back instead.
        supplies: what the function needs that is no part of a cell: see ``Study.supplies``.
        forecasts: by resource, such as ``memory``, how much a cell needs of it, for engines that ask; given a
            number of cells besides, how much so many need at once.
        compute_at_once: name of the function that computes several cells in one call.
        beside: tasks whose cells it computes with this one's.
    """

    compute: str
    cell: Cell
    directory: Path | None
    supplies: Supplies = field(default_factory=dict)
    forecasts: Mapping[str, Callable[..., float]] = field(default_factory=dict)
    compute_at_once: str = ""
    beside: tuple["Task", ...] = ()

    @property
    def place(self) -> Path:
        """The directory of a task that has one."""
        assert self.directory is not None
        return self.directory

    def one_by_one(self) -> "list[Task]":
        """The task alone, and those beside it."""
        return [replace(self, beside=()), *self.beside]


def outcome(directory: Path) -> str | None:
    """What has come of the cell in a directory: ``"done"``, ``"failed"``, or None if nothing yet.

    Raises:
        OSError: if one may not look.
    """
    if is_there(f"{directory}{os.sep}{RESULT}"):
        return "done"
    return "failed" if is_there(f"{directory}{os.sep}{FAILURE}") else None


def resolve(name: str) -> Any:
    """What is named ``"package.module:name"``, ``"package.module:Class.method"`` or ``"/folder/file.py:name"``.

    Raises:
        StudyError: if there is no such thing.
    """
    where, _, path = name.rpartition(":")
    try:
        module = load_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
        return functools.reduce(getattr, path.split("."), module)
    except (ImportError, AttributeError, ValueError) as error:
        raise StudyError(f"cannot find {name!r}: {error}") from error


def compute_cell(
    task: Task, begin: Callable[[], None] = lambda: None, find: Callable[[str], Any] = resolve
) -> str:
    """Compute a cell, write ``result.json`` or ``failure.json``, and say ``"done"`` or ``"failed"``.

    Args:
        task: the cell.
        begin: as of ``computed``.
        find: as of ``computed``.

    Raises:
        OSError: if the file cannot be written.
    """
    state, content = computed(task, begin, find)
    write_outcome(task.place, state, content)
    return state


def described(error: Exception) -> str:
    """What went wrong, for a reader."""
    return str(error) if isinstance(error, NtkgapError) else f"{type(error).__name__}: {error}"


def computed(
    task: Task, begin: Callable[[], None] = lambda: None, find: Callable[[str], Any] = resolve
) -> tuple[str, dict[str, Any]]:
    """Compute a cell; gives ``"done"`` and the result, or ``"failed"`` and the failure.

    Args:
        task: the cell.
        begin: called when all is imported: the seconds of a cell count from there.
        find: gives the function of a name.
    """
    try:
        function = find(task.compute)
        begin()
        start = time.perf_counter()
        result = function(task.cell, task.supplies) if task.supplies else function(task.cell)
    except Exception as error:  # whatever one cell does must not end the sweep
        return "failed", {"message": described(error), "traceback": traceback.format_exc()}
    return "done", {**result, "seconds": round(time.perf_counter() - start, 3)}


def computed_at_once(
    task: Task, begin: Callable[[], None] = lambda: None, find: Callable[[str], Any] = resolve
) -> Iterator[tuple[Task, str, dict[str, Any]]]:
    """Compute a cell and those beside it in one call; each with its task, as of ``computed``.

    If that call fails they are computed one by one, and the results say so: a failure is that of the cell that it
    belongs to.

    Args:
        task: the cell.
        begin: as of ``computed``.
        find: as of ``computed``.
    """
    tasks, failure = task.one_by_one(), ""
    if task.beside:
        try:
            function = find(task.compute_at_once)
            begin()
            start = time.perf_counter()
            cells = [one.cell for one in tasks]
            results = function(cells, task.supplies) if task.supplies else function(cells)
            seconds = round((time.perf_counter() - start) / len(tasks), 3)
            pairs = list(zip(tasks, results, strict=True))
        except Exception as error:
            failure = f"computed alone, as {len(tasks)} seeds at once failed: {described(error)}"
        else:
            yield from ((one, "done", {**result, "seconds": seconds}) for one, result in pairs)
            return
    for one in tasks:
        state, content = computed(one, begin, find)
        if failure and state == "done":
            content["notes"] = [*content.get("notes", []), failure]
        yield one, state, content


def write_outcome(directory: Path, state: str, content: dict[str, Any]) -> None:
    """Write down what came of a cell.

    Raises:
        OSError: if the file cannot be written.
    """
    write_json(directory / (RESULT if state == "done" else FAILURE), content)
