"""How time grows with the examples n, the outputs C, the width and the workers: `python benchmarks/scaling.py`.

Seconds are of the processor, one thread, the least of three, so that other work on the machine weighs little.
Beside each growth of a kernel stands that of two models: contractions as planned, and 2·n·P operations for a pass
through the network, one forward and one for each output back to the layers; and n²·C²·P, the product of whole
Jacobians. Of workers under Dask: what the same cells take of the processor, and all other processes besides.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from kills_dask import Cluster

import ntkgap as ng
from ntkgap import sweep

BASE = {"n": 128, "outputs": 10, "width": 256}
GROWN = ({}, {"n": 256}, {"n": 512}, {"outputs": 5}, {"outputs": 20}, {"width": 512}, {"width": 1024})
CELLS = 16


def measured(n: int, outputs: int, width: int) -> tuple[float, float, float]:
    """Seconds of a kernel of all pairs of outputs, and what two models are proportional to."""
    net = ng.MLP(64, outputs, width, 2, generator=torch.Generator().manual_seed(0))
    x = torch.randn(n, 64, generator=torch.Generator().manual_seed(1))
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        ng.empirical_ntk(net, x)
        seconds.append(time.process_time() - begin)
    parameters = sum(p.numel() for p in net.parameters())
    passes = 2 * n * parameters * (1 + outputs)
    return min(seconds), ng.plan_ntk(net, x).flops + passes, float(n * outputs) ** 2 * parameters


def kernels() -> None:
    torch.set_num_threads(1)
    seconds, planned, whole = measured(**BASE)
    for grown in GROWN:
        found = measured(**{**BASE, **grown})
        names = ", ".join(f"{name} = {value}" for name, value in grown.items()) or "n = 128, C = 10, width 256"
        print(
            f"{names:<28}{found[0]:8.3f} s  x {found[0] / seconds:5.2f}  model x {found[1] / planned:5.2f}"
            f"  n^2 C^2 P x {found[2] / whole:6.2f}  {found[1] / found[0] / 1e9:6.1f} GFLOP/s",
            flush=True,
        )


class Products:
    """A study of cells that multiply matrices."""

    name, version, axes = "products", 1, ("problem", "width", "seed")
    compute = f"{Path(__file__).absolute()}:compute"

    def cells(self) -> list[dict[str, Any]]:  # noqa: D102
        return [{"problem": "products", "width": 1, "seed": seed} for seed in range(CELLS)]

    def cost(self, cell: Mapping[str, Any]) -> float:  # noqa: D102
        return 1.0

    def configuration(self) -> Mapping[str, Any]:  # noqa: D102
        return {}


def compute(cell: Mapping[str, Any]) -> dict[str, Any]:
    begin, a = time.process_time(), np.random.default_rng(cell["seed"]).normal(size=(400, 400))
    for _ in range(60):
        a = a @ a / np.linalg.norm(a)
    scalars = {"processor": time.process_time() - begin}
    return {"scalars": scalars, "curves": {}, "notes": [], "diverged": False}


def spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def workers() -> None:
    # All are forked before this process has a client, and so threads.
    for cluster in [Cluster(number) for number in (1, 2, 3, 4)]:
        try:
            others = [psutil.Process(p.pid) for p in (cluster.scheduler, *cluster.workers)] + [psutil.Process()]
            with tempfile.TemporaryDirectory() as store:
                before, begin = sum(map(spent, others)), time.monotonic()
                runs = sweep.run(Products(), store, engine=ng.DaskEngine(cluster.address), progress=False)
                beside, clock = sum(map(spent, others)) - before, time.monotonic() - begin
                cells = [cell.result()["scalars"]["processor"] for cell in runs.cells]
        finally:
            cluster.end()
        print(
            f"{cluster.number} workers: cells {sum(cells):6.2f} s of the processor ({np.mean(cells):.3f} each), "
            f"besides {beside:5.2f} s ({1000 * beside / CELLS:.0f} ms a cell), {clock:6.1f} s by the clock",
            flush=True,
        )


if __name__ == "__main__":
    workers()  # first: it forks
    kernels()
