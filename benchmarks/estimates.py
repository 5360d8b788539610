"""Foretold against measured: time and peak memory of one cell of every width of a preset.

    python benchmarks/estimates.py [PRESET or YAML] [--problem TEXT] [--width 64,256]

Every cell runs alone, in a process with one thread, as a worker of a sweep has, after a tiny one: what is imported
and compiled on the way to the first result is not the cell's. Seconds are the
processor's, on which other users of the machine weigh less. Peak memory is read from /proc, so on Linux only.
"""

import argparse
import json
import os
import subprocess
import sys

import ntkgap as ng

MEASURE = """
import json, re, sys, time
from pathlib import Path
from ntkgap.studies.optimization.cell import compute
first, cell = json.loads(sys.stdin.read())
compute(first)
start = time.process_time()
compute(cell)
seconds = time.process_time() - start
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(json.dumps([seconds, 1024 * int(peak)]))
"""


def measured(first: dict[str, object], cell: dict[str, object]) -> tuple[float, float]:
    """Seconds and bytes at the peak."""
    arithmetic = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE],
        input=json.dumps([first, cell]),
        env={**os.environ, **arithmetic, "MKL_CBWR": "AUTO,STRICT"},
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", default="quick")
    parser.add_argument("--problem", action="append")
    parser.add_argument("--width")
    arguments = parser.parse_args()
    widths = [int(width) for width in arguments.width.split(",")] if arguments.width else None
    study = ng.OptimizationStudy.preset(arguments.preset, seeds=[0], widths=widths, problems=arguments.problem)
    print("| problem | width | seconds | foretold | ratio | MB | foretold | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    first = ng.OptimizationStudy.preset("smoke").cells()[0]
    for cell in study.cells():
        foretold = study.estimate(cell)
        seconds, peak = measured(first, cell)
        print(
            f"| {cell['problem']} | {cell['width']} | {seconds:.2f} | {foretold.seconds:.2f} "
            f"| {foretold.seconds / seconds:.2f} | {peak / 1e6:.0f} | {foretold.bytes / 1e6:.0f} "
            f"| {foretold.bytes / peak:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
