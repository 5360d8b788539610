"""How often a diagnosis names the right regime where it is known, and how long it takes.

Run: ``python benchmarks/diagnose.py [--times 200] [--first 0] [--no-clock]``. The table counts regimes over
random networks and trainings of two clear-cut halves: lazy (antisymmetric start, α of 30 and more) must
never be "feature learning", rich (γ0 of 1 and more) never "kernel"; "not trained enough" is no verdict, and
says why. Then the time of ``ntkgap diagnose`` on 1000 images of 16 × 16, three widths, five seeds, two
workers: to stay below five minutes of two cores, by the processor's clock.
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


def confusion(numbers: range) -> Counter[tuple[str, str]]:
    importlib.import_module("ntkgap.sweep.run").LocalEngine = Here
    # Nothing that the rule sees.
    measuring.generalize = measuring.compare_uncertainty = lambda *args: None
    measuring.train_linearized = lambda *args: (None, "left out")
    found: Counter[tuple[str, str]] = Counter()
    for i in numbers:
        half, settings = clear_cut(i)
        with tempfile.TemporaryDirectory() as folder:
            diagnosis = diagnosed(folder, seeds=5, **settings)
        found[half, diagnosis.regime] += 1
        if diagnosis.regime not in {"lazy": ("kernel",), "rich": ("feature learning",)}[half]:
            print(f"{i} {half} {settings}: {diagnosis.sentence}", file=sys.stderr, flush=True)
    return found


def seconds() -> tuple[float, float]:
    """Of the wall clock, and of the processor."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng, classes = np.random.default_rng(0), np.arange(1000) % 10
        patterns = rng.normal(size=(10, 1, 16, 16))
        np.savez(folder / "mine.npz", x=patterns[classes] + rng.normal(size=(1000, 1, 16, 16)), y=classes)
        (folder / "my_model.py").write_text(MODEL)
        command = [sys.executable, "-m", "ntkgap", "diagnose", "my_model.py:build", "--data", "mine.npz"]
        command += ["--width", "64,256,1024", "--seeds", "5", "--workers", "2", "--store", "runs"]
        start, before = time.perf_counter(), os.times()
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        taken, after = time.perf_counter() - start, os.times()
    print(done.stdout.splitlines()[0])
    own = after.children_user + after.children_system - before.children_user - before.children_system
    return taken, own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first one, to go on from there")
    parser.add_argument("--no-clock", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = confusion(range(options.first, options.first + options.times))
    print(f"| truth | {' | '.join(REGIMES)} |\n|---|{'---|' * len(REGIMES)}")
    for half in WRONG:
        print(f"| {half} | {' | '.join(str(found[half, regime]) for regime in REGIMES)} |")
    if wrong := sum(found[half, regime] for half, regime in WRONG.items()):
        sys.exit(f"{wrong} of {options.times} were taken for their opposite")
    if not options.no_clock:
        taken, own = seconds()
        print(f"ntkgap diagnose: {taken:.0f} s, {own:.0f} s of the processor (load {os.getloadavg()[0]:.1f})")
        if own > 2 * 60 * MINUTES:
            sys.exit(f"ntkgap diagnose took more than {MINUTES:g} minutes of two cores")


if __name__ == "__main__":
    main()
