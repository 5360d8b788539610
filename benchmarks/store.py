"""What a store of many cells costs: 20 000 cells that compute nothing.

    python benchmarks/store.py [--cells 20000]

Prints seconds of processor time (and by the clock) of: planning, running with one worker, status, the scan of a
run that has nothing to do, and what a report reads; and the memory at the peak. Aims: 5 ms a cell for planning and
running together, 2 s for status, 3 s for the scan.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ntkgap import sweep
from ntkgap.results import Runs


class Trivial:
    """A study of cells that are done at once."""

    name, version, axes = "trivial", 1, ("problem", "width", "seed")
    compute = f"{Path(__file__).absolute()}:compute"

    def __init__(self, cells: int) -> None:
        self.n = cells

    def cells(self) -> list[dict[str, Any]]:  # noqa: D102
        settings = {
            "data": {"name": "digits", "n_train": 256, "n_test": 512},
            "model": {"name": "mlp", "depth": 3},
        }
        return [
            {
                "problem": f"problem {i % 4}",
                "width": 2 ** (4 + i // 4 % 8),
                "seed": i // 32,
                "variation": "",
                **settings,
            }
            for i in range(self.n)
        ]

    def cost(self, cell: Mapping[str, Any]) -> float:  # noqa: D102
        return float(cell["width"])

    def configuration(self) -> Mapping[str, Any]:  # noqa: D102
        return {"cells": self.n}


def compute(cell: Mapping[str, Any]) -> dict[str, Any]:
    scalars = {f"quantity {i}": float(cell["width"] * i) for i in range(20)}
    return {"scalars": scalars, "curves": {"line": [0.5] * 50}, "notes": [], "diverged": False}


def timed(what: str, call: Callable[[], Any], cells: int, aim: str = "") -> Any:
    begun, cpu = time.perf_counter(), os.times()
    found = call()
    seconds, spent = time.perf_counter() - begun, os.times()
    used = sum(spent[:4]) - sum(cpu[:4])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each = 1000 * used / cells
    print(
        f"{what:<34}{used:8.2f} s ({seconds:7.2f} by the clock){each:8.2f} ms a cell {peak:7.0f} MB  {aim}",
        flush=True,
    )
    return found


def command(*arguments: str) -> None:
    # The worker's own file is needed only to run; status and report read the store alone.
    subprocess.run([sys.executable, "-m", "ntkgap", *arguments], check=True, stdout=subprocess.DEVNULL)


def read_all(path: Path) -> Sequence[Any]:
    runs = Runs(path).snapshot()
    return [runs.counts(), runs.to_pandas(), runs.curves("line")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    n = parser.parse_args().cells
    study = Trivial(n)
    with tempfile.TemporaryDirectory(prefix="ntkgap-store-") as folder:
        path = Path(folder) / "store"
        timed("plan", lambda: sweep.Store.create(path, study).plan(study, study.cells()), n)
        timed(
            "run, one worker",
            lambda: sweep.run(study, path, 1, progress=False),
            n,
            "aim with planning: 5 ms a cell",
        )
        timed("scan of a run with nothing to do", lambda: sweep.run(study, path, 1, progress=False), n, "aim: 3 s")
        timed("dry run", lambda: sweep.preview(study, path), n)
        timed("status, the whole command", lambda: command("status", str(path)), n, "aim: 2 s")
        timed("what a report reads", lambda: read_all(path), n)


if __name__ == "__main__":
    main()
