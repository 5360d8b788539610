"""What a Dask worker does: it keeps a worker process of the local engine beside it, and hands cells on to that.

So cells are computed as they are locally, in the same environment with one thread each: numbers are the same, a
cell that crashes takes no Dask worker with it, and several threads of one are no danger.
"""

import shutil
import sys
import tempfile
import threading
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

    def answer(self, cell: Cell) -> dict[str, Any]:
        """Compute a cell; gives its ``state`` and ``content``, or why it is lost."""
        task = Task(self.compute, self.parcel.moved_cell(cell, self.folder), None, self.supplies)
        cause = ""
        for _ in range(MAX_ATTEMPTS):
            with self.lock:
                process = self.idle.pop() if self.idle else PlacedWorker()
                self.busy.add(process)
            process.assign(task)
            while (found := process.read_answer()) is not None and found["state"] == "begun":
                pass
            with self.lock:
                self.busy.discard(process)
                if kept := found is not None and not self.over:
                    self.idle.append(process)
                    self._wait_anew()
            if found is not None:
                if not kept:
                    process.end()
                return found
            cause = process.cause_of_death()
            process.end()
            if self.over:
                raise StudyError("the run has ended")
        return {"state": "lost", "message": f"its worker died {MAX_ATTEMPTS} times: {cause}"}

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


def compute_there(cell: Cell, name: str, asked: dict[str, str]) -> dict[str, Any]:
    """Compute a cell on a Dask worker.

    Args:
        cell: which.
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
    return PLUGINS[name].answer(cell)
