"""Kill a sweep at random moments, many times, and see that nothing is lost and nothing computed twice.

    python benchmarks/kills.py [--workers-killed 20] [--parents-killed 20]
    python benchmarks/kills.py --engine dask [--workers-killed 40] [--schedulers-killed 10] [--parents-killed 10]

Runs the smoke preset with more seeds in real processes. While it runs, workers and then parents are killed with
SIGKILL at random moments; after each parent's death the same command is started again. In the end the table of
results must equal that of an uninterrupted run, and no result file may have been written twice. Under Dask
cells of 0.2 s take their place (``kills_dask.py``), and the parent is the client.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

import ntkgap as ng

SEEDS = 80


def command(store: Path, seeds: int) -> list[str]:
    arguments = ["run", "optimization", "--preset", "smoke", "--seed", f"0:{seeds}", "--store", str(store)]
    return [sys.executable, "-m", "ntkgap", *arguments]


def start(store: Path, seeds: int) -> psutil.Popen:
    return psutil.Popen(command(store, seeds), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def results(store: Path) -> dict[str, int]:
    """Every finished cell with the moment its result was written."""
    return {p.parent.name: p.stat().st_mtime_ns for p in store.glob("workspace/*/result.json")}


def kill_at_random(store: Path, seeds: int, kills: int, victim: str, rng: random.Random) -> dict[str, int]:
    """Kill workers, or the parent, ``kills`` times; gives every result seen on the way."""
    seen: dict[str, int] = {}
    parent = start(store, seeds)
    done = 0
    while done < kills:
        before = len(results(store))
        # Half of the kills wait for progress first: while everything is still importing there is nothing to lose.
        while done % 2 and parent.poll() is None and len(results(store)) == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 3.0))
        for cell, written in results(store).items():
            assert seen.setdefault(cell, written) == written, f"{cell} was computed again"
        if parent.poll() is not None:
            raise SystemExit(f"the sweep ended after {done} of {kills} kills; give it more seeds")
        if victim == "parent":
            parent.send_signal(signal.SIGKILL)
            parent.wait()
            parent = start(store, seeds)
        else:
            workers = parent.children()
            if not workers:
                continue
            rng.choice(workers).send_signal(signal.SIGKILL)
        done += 1
    parent.wait()
    if parent.returncode != 0:  # a cell that lost three workers in a row is left for the next run
        start(store, seeds).wait()
    for cell, written in seen.items():
        assert results(store)[cell] == written, f"{cell} was computed again"
    return seen


def table(store: Path) -> pd.DataFrame:
    return ng.Runs(store).to_pandas().drop(columns="seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("local", "dask"), default="local")
    parser.add_argument("--workers-killed", type=int, help="20; under Dask 40")
    parser.add_argument("--schedulers-killed", type=int, default=10)
    parser.add_argument("--parents-killed", type=int, help="20; under Dask, where it is the client, 10")
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    workers, parents = (20, 20) if settings.engine == "local" else (40, 10)
    workers = workers if settings.workers_killed is None else settings.workers_killed
    parents = parents if settings.parents_killed is None else settings.parents_killed
    if settings.engine == "dask":
        from kills_dask import kill_all

        kill_all({"worker": workers, "scheduler": settings.schedulers_killed, "client": parents}, settings.seed)
        return
    rng = random.Random(settings.seed)
    folder = Path(tempfile.mkdtemp(prefix="ntkgap-kills-"))
    seeds = SEEDS
    print(f"uninterrupted run of {8 * seeds} cells ...", flush=True)
    assert start(folder / "calm", seeds).wait() == 0
    for victim, kills in (("worker", workers), ("parent", parents)):
        store = folder / victim
        begin = time.monotonic()
        seen = kill_at_random(store, seeds, kills, victim, rng)
        pd.testing.assert_frame_equal(table(store), table(folder / "calm"), check_exact=True)
        seconds = time.monotonic() - begin
        print(f"{kills} kills of a {victim} in {seconds:.0f} s: table identical to the uninterrupted run's,")
        print(f"  none of the {len(seen)} cells finished before a kill computed again", flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
