"""A study without networks, to try the sweep with."""

import os
import signal
import time
from pathlib import Path

from ntkgap.errors import DataError


class ToyStudy:
    name = "toy"
    version = 1
    compute = "tests.sweep.toy:compute"
    axes = ("problem", "width", "seed")

    def __init__(self, widths=(1, 2, 4), seeds=(0, 1), **settings):
        self.widths, self.seeds, self.settings = widths, seeds, settings

    def cells(self):
        return [
            {"problem": "toy", "width": w, "seed": s, **self.settings} for w in self.widths for s in self.seeds
        ]

    def cost(self, cell):
        return cell["width"]

    def configuration(self):
        return {"widths": list(self.widths)}


class StackedToy(ToyStudy):
    """Cells of one width are computed in one call."""

    compute_at_once = "tests.sweep.toy:compute_all"

    def stacks(self, cells, workers):
        widths = sorted({cell["width"] for cell in cells}, reverse=True)
        return [[i for i, cell in enumerate(cells) if cell["width"] == width] for width in widths]


def compute_all(cells):
    """In one call, which is logged as such; it may fail or die where single cells do not."""
    if log := cells[0].get("calls"):
        with Path(log).open("a") as file:
            file.write(" ".join(str(cell["seed"]) for cell in cells) + "\n")
    if cells[0]["width"] == cells[0].get("dies_together_at"):
        os.kill(os.getpid(), signal.SIGKILL)
    return [compute(cell) for cell in cells]


def compute(cell):
    """Square the width, in the manner the cell asks for."""
    if log := cell.get("log"):  # one line a computation, so that tests can count them
        with Path(log).open("a") as file:
            file.write(f"{cell['width']} {cell['seed']}\n")
    if who := cell.get("who"):
        with Path(who).open("a") as file:
            file.write(f"{os.getpid()} {os.environ['NTKGAP_WORKER']} {cell['width']}\n")
    if cell["width"] == cell.get("fails_at"):
        raise DataError("the input is a toy")
    if cell["seed"] == cell.get("fails_seed"):
        raise DataError("the seed is a toy")
    if cell["seed"] == cell.get("dies_seed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if cell["width"] == cell.get("crashes_at"):
        raise ZeroDivisionError("deep inside")
    if cell["width"] == cell.get("dies_at"):
        os.kill(os.getpid(), signal.SIGKILL)
    if cell["width"] == cell.get("dies_once_at") and not Path(cell["mark"]).exists():
        Path(cell["mark"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(cell.get("sleep", 0))
    print("a chatty model")  # must not be taken for an acknowledgment
    bad = float("inf") if cell["width"] == cell.get("diverges_at") else float(cell["width"] ** 2)
    return {
        "scalars": {"square": bad, "unknown": float("nan")},
        "curves": {"line": [0.0, 1.0, bad]},
        "notes": [],
        "diverged": bad == float("inf"),
    }
