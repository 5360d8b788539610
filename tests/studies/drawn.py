"""A study without networks: its cells look numbers up, and a clock of its own says how long they take."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from pydantic import Field

import ntkgap as ng
from ntkgap.studies.measured import Measured
from ntkgap.studies.spec import DataSpec
from ntkgap.sweep.compute_cell import RESULT, compute_cell
from ntkgap.sweep.engines import Event
from ntkgap.sweep.files import read_json, write_json
from tests.studies.worlds import make_claim

YES, NO = 0.5, 2.0
WORLD: dict[str, Callable[[str, int, int], float]] = {}
"""The numbers by claim, as functions of problem, width and seed; an error is one of the cell."""


class DrawnProblem(ng.studies.BaseProblem):
    model: dict[str, str] = Field(default={})
    data: DataSpec = DataSpec(name="sphere", n_train=1)
    strength: float = 1.0

    def describe(self):
        return "numbers"

    def example(self, seed):
        raise NotImplementedError


class Drawn(ng.studies.BaseStudy):
    name: ClassVar[str] = "drawn"
    problems: Sequence[DrawnProblem] = Field(min_length=1)

    @classmethod
    def measure(cls, problem, width, seed):
        found = ng.studies.Findings()
        found.scalars |= {key: number(problem.name, width, seed) for key, number in WORLD.items()}
        return found

    def claims(self):
        return [
            make_claim(key=key, title=key, quantity=key) for key in WORLD if not key.endswith(("_low", "_high"))
        ]


class Compared(Drawn):
    """The claim ``ratio`` is about what a network is beside the narrowest of its seed."""

    name: ClassVar[str] = "compared"
    compares_widths: ClassVar[bool] = True

    def complete(self, cells):
        narrow = {c.seed: c for c in cells if c.width == min(cell.width for cell in cells)}
        return [self._beside(c, narrow[c.seed]) if c.seed in narrow else c for c in cells]

    def _beside(self, cell, narrow):
        if cell.width == narrow.width:
            return cell
        scalars = {**cell.scalars, "ratio": cell.scalars["plain"] / narrow.scalars["plain"]}
        return Measured(cell.cell, scalars, cell.curves, cell.notes, cell.diverged, cell.seconds)

    def claims(self):
        return [make_claim(key=key, title=key, quantity=key) for key in ("plain", "ratio")]


class Timed:
    """Computes in this process, and says that each cell took so long.

    Attributes:
        now: seconds since it began.
        begun: problem, width, seed and variation of cells, in order.
    """

    def __init__(self, seconds=lambda cell: 1.0):
        self.seconds, self.now, self.begun = seconds, 0.0, []

    def monotonic(self):
        return self.now

    def run(self, tasks):
        for task in tasks:
            self.begun.append(tuple(task.cell[axis] for axis in Drawn.axes))
            state = compute_cell(task)
            self.now += self.seconds(task.cell)
            if state == "done":
                path = task.directory / RESULT
                write_json(path, read_json(path) | {"seconds": self.seconds(task.cell)})
            yield Event(task, state)

    def seeds(self):
        """How many cells of each problem and width were computed, but for variations."""
        found = {}
        for problem, width, _, variation in self.begun:
            if not variation:
                found[problem, width] = found.get((problem, width), 0) + 1
        return found
