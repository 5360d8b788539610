"""What a Dask worker does: it keeps a worker process of the local engine beside it, and hands cells on to that.

So cells are computed as they are locally, in the same environment with one thread each: numbers are the same, a
cell that crashes takes no Dask worker with it, and several threads of one are no danger.
"""

import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin

from ntkgap.errors import NtkgapError, StudyError
from ntkgap.sweep.compute_cell import Task
from ntkgap.sweep.engines.local import MAX_ATTEMPTS
from ntkgap.sweep.engines.places import PlacedWorker
from ntkgap.sweep.parcels import Parcel
from ntkgap.sweep.study import Cell, Supplies

# Seconds after which processes without work are ended: nobody says so of a run whose client was killed.
IDLE = 60.0


class RunPlugin(WorkerPlugin):
    """What a run needs on every worker, those that join later included; its end ends what is in hand.

    Args:
        name: of the run.
        compute: name of the function.
        supplies: as of ``Task``.
        parcel: the files that both name.
    """

    def __init__(self, name: str, compute: str, supplies: Supplies, parcel: Parcel) -> None:
        self.name, self.compute, self.supplies, self.parcel = name, compute, supplies, parcel

    def setup(self, worker: Any) -> None:
        """Unpack the files."""
        self.folder = Path(tempfile.mkdtemp(prefix="ntkgap-"))
        self.parcel.unpack(self.folder)
        self.compute = self.parcel.moved(self.compute, self.folder)
        self.supplies = self.parcel.moved(self.supplies, self.folder)
        self.busy: set[PlacedWorker] = set()
        self.idle: list[PlacedWorker] = []
        self.over = False
        self.lock = threading.Lock()
        self.timer = threading.Timer(IDLE, self.end_idle)
        PLUGINS[self.name] = self

    def teardown(self, worker: Any) -> None:
        """End the processes."""
        PLUGINS.pop(self.name, None)
        self.over = True
        with self.lock:
            self.timer.cancel()
            for process in (*self.busy, *self.idle):
                process.process.kill()
            for process in self.idle:  # whoever waits for an answer of a busy one sees its end
                process.end()
            self.idle = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def answers(self, cells: Sequence[Cell], compute_at_once: str) -> list[dict[str, Any]]:
        """Compute cells in one call, or where its process dies one by one; ``state`` and ``content`` of each.

        Args:
            cells: which.
            compute_at_once: as of ``Task``.
        """
        first, *beside = (
            Task(self.compute, self.parcel.moved_cell(cell, self.folder), None, self.supplies) for cell in cells
        )
        if not beside:
            return [self._answer(first, MAX_ATTEMPTS)]
        name = self.parcel.moved(compute_at_once, self.folder)
        found, _ = self._attempt(replace(first, compute_at_once=name, beside=tuple(beside)))
        return found + [self._answer(task, MAX_ATTEMPTS - 1) for task in [first, *beside][len(found) :]]

    def _answer(self, task: Task, attempts: int) -> dict[str, Any]:
        """Of a cell alone, or why it is lost."""
        cause = ""
        for _ in range(attempts):
            found, cause = self._attempt(task)
            if found:
                return found[0]
        return {"state": "lost", "message": f"its worker died {MAX_ATTEMPTS} times: {cause}"}

    def _attempt(self, task: Task) -> tuple[list[dict[str, Any]], str]:
        """The answers of one process, and why it died if it did."""
        with self.lock:
            process = self.idle.pop() if self.idle else PlacedWorker()
            self.busy.add(process)
        process.assign(task)
        found: list[dict[str, Any]] = []
        while len(found) <= len(task.beside) and (answer := process.read_answer()) is not None:
            if answer["state"] != "begun":
                found.append(answer)
        died = len(found) <= len(task.beside)
        with self.lock:
            self.busy.discard(process)
            if kept := not died and not self.over:
                self.idle.append(process)
                self._wait_anew()
        cause = process.cause_of_death() if died else ""
        if not kept:
            process.end()
        if died and self.over:
            raise StudyError("the run has ended")
        return found, cause

    def _wait_anew(self) -> None:
        self.timer.cancel()
        self.timer = threading.Timer(IDLE, self.end_idle)
        self.timer.daemon = True
        self.timer.start()

    def end_idle(self) -> None:
        """End the processes that have no work."""
        with self.lock:
            idle, self.idle = self.idle, []
        for process in idle:
            process.end()


PLUGINS: dict[str, RunPlugin] = {}


def versions() -> dict[str, str]:
    """Of what numbers depend on; builds for CPUs and GPUs are one version."""
    found = {name: metadata.version(name).partition("+")[0] for name in ("torch", "numpy")}
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return {"ntkgap": sys.modules["ntkgap"].__version__, "python": python, **found}


def compute_there(
    cells: Sequence[Cell], compute_at_once: str, name: str, asked: dict[str, str]
) -> list[dict[str, Any]]:
    """Compute cells on a Dask worker.

    Args:
        cells: which.
        compute_at_once: as of ``Task``.
        name: of the run.
        asked: versions of the process that runs the study.

    Raises:
        NtkgapError: if the versions here are others.
    """
    if differing := {key: (asked[key], here) for key, here in versions().items() if asked.get(key) != here}:
        what = ", ".join(f"{key} {there} here and {here} there" for key, (there, here) in differing.items())
        raise NtkgapError(f"a Dask worker has other versions, whose numbers may differ: {what}; install the same")
    if name not in PLUGINS:
        raise NtkgapError("a Dask worker knows nothing of this run: its files did not reach it; see its log")
    return PLUGINS[name].answers(cells, compute_at_once)
