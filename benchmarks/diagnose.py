"""How often a diagnosis names the right regime where it is known, and how long it takes.

Run: ``python benchmarks/diagnose.py [--times 200] [--no-clock]``. The table counts regimes over random networks
and trainings of two clear-cut halves: lazy (antisymmetric start, α of 30 and more) must never be "feature
learning", rich (γ0 of 1 and more, trained to fit) never "kernel". Then the wall time of ``ntkgap diagnose`` on
1000 images of 16 × 16, three widths, five seeds, two workers: to stay below five minutes.
"""

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.here import Here
from tests.studies.clear_cut import clear_cut
from tests.studies.diagnosed import diagnosed

from ntkgap.studies.diagnosis import measure as measuring

REGIMES = ("kernel", "mixed", "feature learning", "not trained enough")
WRONG = {"lazy": "feature learning", "rich": "kernel"}
MINUTES = 5.0

MODEL = """
import torch
from torch import nn


def build(width, in_features, n_outputs):
    layers = nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, n_outputs))
"""


def confusion(times: int) -> Counter[tuple[str, str]]:
    importlib.import_module("ntkgap.sweep.run").LocalEngine = Here
    measuring.generalise = lambda *args: None  # nothing that the rule sees
    found: Counter[tuple[str, str]] = Counter()
    for i in range(times):
        half, settings = clear_cut(i)
        with tempfile.TemporaryDirectory() as folder:
            diagnosis = diagnosed(folder, seeds=5, **settings)
        found[half, diagnosis.regime] += 1
        if diagnosis.regime not in {"lazy": ("kernel",), "rich": ("feature learning",)}[half]:
            print(f"{i} {half} {settings}: {diagnosis.sentence}", file=sys.stderr, flush=True)
    return found


def seconds() -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng, classes = np.random.default_rng(0), np.arange(1000) % 10
        patterns = rng.normal(size=(10, 1, 16, 16))
        np.savez(folder / "mine.npz", x=patterns[classes] + rng.normal(size=(1000, 1, 16, 16)), y=classes)
        (folder / "my_model.py").write_text(MODEL)
        command = [sys.executable, "-m", "ntkgap", "diagnose", "my_model.py:build", "--data", "mine.npz"]
        command += ["--width", "64,256,1024", "--seeds", "5", "--workers", "2", "--store", "runs"]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        taken = time.perf_counter() - start
    print(done.stdout.splitlines()[0])
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--no-clock", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = confusion(options.times)
    print(f"| truth | {' | '.join(REGIMES)} |\n|---|{'---|' * len(REGIMES)}")
    for half in WRONG:
        print(f"| {half} | {' | '.join(str(found[half, regime]) for regime in REGIMES)} |")
    if wrong := sum(found[half, regime] for half, regime in WRONG.items()):
        sys.exit(f"{wrong} of {options.times} were taken for their opposite")
    if not options.no_clock:
        taken = seconds()
        print(f"ntkgap diagnose: {taken:.0f} s (load {os.getloadavg()[0]:.1f})")
        if taken > 60 * MINUTES:
            sys.exit(f"ntkgap diagnose took more than {MINUTES:g} minutes")


if __name__ == "__main__":
    main()
