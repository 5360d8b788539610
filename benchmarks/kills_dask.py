"""Kills under Dask: workers, the scheduler and the client; started by ``kills.py --engine dask``.

A scheduler and workers are processes of their own, as on machines of a network; cells take 0.2 s and compute next
to nothing. Every computation that begins is written to a log: none may begin after the cell's result was written.
"""

import asyncio
import inspect
import multiprocessing
import os
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkProcess as Process
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pandas as pd
import psutil

import ntkgap as ng
from ntkgap import sweep

SECONDS, WORKERS = 0.2, 3
CELLS_A_KILL = 12
FORK = multiprocessing.get_context("fork")


class Draws:
    """A study of cells that draw a few numbers by their seed."""

    name, version, axes = "draws", 1, ("problem", "width", "seed")
    compute = f"{Path(__file__).absolute()}:compute"

    def __init__(self, cells: int, logs: str = "", seconds: float = 0.0) -> None:
        self.n, self.logs, self.seconds = cells, logs, seconds

    def cells(self) -> list[dict[str, Any]]:  # noqa: D102
        return [{"problem": "draws", "width": 1, "seed": seed} for seed in range(self.n)]

    def cost(self, cell: Mapping[str, Any]) -> float:  # noqa: D102
        return 1.0

    def configuration(self) -> Mapping[str, Any]:  # noqa: D102
        return {}

    def supplies(self) -> dict[str, Any]:  # noqa: D102
        return {"logs": self.logs, "seconds": self.seconds}


def compute(cell: Mapping[str, Any], supplies: Mapping[str, Any]) -> dict[str, Any]:
    if supplies["logs"]:
        with Path(supplies["logs"], "begun.txt").open("a") as file:
            file.write(f"{cell['seed']} {time.time_ns()}\n")
    time.sleep(supplies["seconds"])
    drawn = np.random.default_rng(cell["seed"]).normal(size=(8, 8))
    scalars = {"largest": float(np.linalg.norm(drawn, 2)), "trace": float(np.trace(drawn))}
    return {"scalars": scalars, "curves": {"line": drawn[0].tolist()}, "notes": [], "diverged": False}


async def schedule(port: int) -> None:
    async with distributed.Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler:
        await scheduler.finished()


async def work(address: str, folder: str) -> None:
    async with distributed.Worker(address, nthreads=1, dashboard=False, local_directory=folder) as worker:
        await worker.finished()


def start(target: Callable[..., Any], *arguments: Any) -> Process:
    """A process of its own, forked from one that has everything imported; it says nothing."""

    def quiet() -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        found = target(*arguments)
        if inspect.iscoroutine(found):
            asyncio.run(found)

    (process := FORK.Process(target=quiet)).start()
    return process


def kill(process: Process) -> None:
    process.kill()
    process.join()


class Cluster:
    """A scheduler and workers without nannies: whoever is killed is started again by us."""

    def __init__(self, workers: int = WORKERS) -> None:
        self.number = workers
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.folder = tempfile.mkdtemp(prefix="ntkgap-dask-")
        self.start()

    def start(self) -> None:  # noqa: D102
        self.scheduler = start(schedule, self.port)
        while not self._answers():
            time.sleep(0.1)
        self.workers = [self.new_worker() for _ in range(self.number)]

    def new_worker(self) -> Process:  # noqa: D102
        return start(work, self.address, self.folder)

    def kill_worker(self, rng: random.Random) -> None:  # noqa: D102
        at = rng.randrange(self.number)
        kill(self.workers[at])
        self.workers[at] = self.new_worker()

    def cell_processes(self) -> int:  # noqa: D102
        return sum(len(psutil.Process(w.pid).children()) for w in self.workers if w.is_alive())

    def end(self, patience: float = 0.0) -> int:
        """End all; gives how many workers had not ended by themselves."""
        until = time.monotonic() + patience
        while time.monotonic() < until and any(worker.is_alive() for worker in self.workers):
            time.sleep(0.05)
        left = [worker for worker in self.workers if worker.is_alive()]
        for process in (*left, self.scheduler):
            kill(process)
        return len(left)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def client(store: Path, cells: int, logs: str, address: str) -> None:
    sweep.run(Draws(cells, logs, SECONDS), store, engine=ng.DaskEngine(address), progress=False)


def results(store: Path) -> dict[int, int]:
    """Every finished cell's seed with the moment its result was written."""
    return {c.cell["seed"]: (c.directory / "result.json").stat().st_mtime_ns for c in sweep.Runs(store).cells}


def begun(logs: Path) -> list[tuple[int, int]]:
    """Seed and moment of every computation that began."""
    lines = (logs / "begun.txt").read_text().splitlines()
    return [(int(seed), int(moment)) for seed, moment in map(str.split, lines)]


def count(store: Path) -> int:
    return sum(1 for _ in store.glob("workspace/*/result.json"))


class Trial:
    """Kills of one victim while a sweep runs, and the same command again until all is done."""

    def __init__(self, folder: Path, victim: str, kills: int, rng: random.Random) -> None:
        self.victim, self.rng, self.cells = victim, rng, CELLS_A_KILL * kills
        # Each once so many cells are done; several at once hit processes that still start.
        self.after = sorted(rng.choices(range(max(1, self.cells * 9 // 10)), k=kills))
        self.store, self.logs = folder / victim, folder / f"{victim}-logs"
        self.logs.mkdir()
        self.cluster = Cluster()
        self.most_processes, self.stubborn, self.noticed = 0, 0, 0.0

    def client(self) -> Process:  # noqa: D102
        return start(client, self.store, self.cells, str(self.logs), self.cluster.address)

    def run(self) -> str:  # noqa: D102
        client = self.client()
        for after in self.after:
            while count(self.store) < after:
                time.sleep(0.02)
                if not client.is_alive():
                    raise SystemExit("the client ended by itself")
            time.sleep(self.rng.uniform(0.0, 0.5))
            self.most_processes = max(self.most_processes, self.cluster.cell_processes())
            client = self.kill(client)
        again = 0
        client.join()
        while client.exitcode or count(self.store) < self.cells:  # cells that lost four workers are left for it
            again += 1
            if again > 3:
                raise SystemExit(f"{self.store} is not completed")
            client = self.client()
            client.join()
        self.cluster.end()
        return self.judged(again)

    def kill(self, client: Process) -> Process:
        """Kill once; gives the client that then is at work."""
        if self.victim == "worker":
            self.cluster.kill_worker(self.rng)
            return client
        if self.victim == "client":
            kill(client)
            return self.client()
        kill(self.cluster.scheduler)
        moment = time.monotonic()
        client.join(timeout=120)
        self.noticed = max(self.noticed, time.monotonic() - moment)
        assert client.exitcode == 1, "a client that lost its scheduler must say so"
        self.stubborn += self.cluster.end(patience=30.0)
        self.cluster.start()
        return self.client()

    def judged(self, again: int) -> str:  # noqa: D102
        written, moments = results(self.store), begun(self.logs)
        late = [seed for seed, moment in moments if moment > written[seed]]
        assert not late, f"{len(late)} finished cells were computed again: {late[:5]}"
        lost = len(moments) - self.cells
        more = f", {again} further runs" if again else ""
        if self.victim == "scheduler":
            more += f", noticed within {self.noticed:.1f} s, {self.stubborn} workers stayed"
        most = f"at most {self.most_processes} cell processes"
        return f"{self.cells} cells, {lost} computations in hand lost, {most}{more}"


def table(store: Path, cells: int) -> pd.DataFrame:
    return ng.Runs(store).to_pandas().drop(columns="seconds").query("seed < @cells").reset_index(drop=True)


def kill_all(kills: Mapping[str, int], seed: int) -> None:
    """Kill each victim so many times, and compare with a run that nobody disturbed."""
    rng, folder = random.Random(seed), Path(tempfile.mkdtemp(prefix="ntkgap-kills-"))
    sweep.run(Draws(CELLS_A_KILL * max(kills.values())), folder / "calm", 1, progress=False)
    for victim, number in kills.items():
        if not number:
            continue
        begin, trial = time.monotonic(), Trial(folder, victim, number, rng)
        try:
            found = trial.run()
        finally:
            trial.cluster.end()
        expected = table(folder / "calm", trial.cells)
        pd.testing.assert_frame_equal(table(trial.store, trial.cells), expected, check_exact=True)
        print(
            f"{number} kills of a {victim} in {time.monotonic() - begin:.0f} s: table identical, no finished cell"
        )
        print(f"  computed again; {found}", flush=True)
    shutil.rmtree(folder)
