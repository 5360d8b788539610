"""How far the cells of a store are, asked for once or again and again."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ntkgap.axis_names import row_name
from ntkgap.sweep.files import collector_paused, in_threads
from ntkgap.sweep.reservations import runs_at_work
from ntkgap.sweep.store import Store
from ntkgap.sweep.stored import StoredCell, check_place


@dataclass
class Row:
    """The cells of one problem, or of it over another axis.

    Attributes:
        counts: by state.
        seconds: of all that are done.
        widths: that there are.
        seeds: that there are.
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("done", "failed", "pending"), 0))
    seconds: float = 0.0
    widths: set[int] = field(default_factory=set)
    seeds: set[int] = field(default_factory=set)


class Status:
    """How far a store is; what has ended is not looked at again.

    Args:
        path: directory of the store.

    Raises:
        StoreError: if there is no store.
    """

    def __init__(self, path: str | Path) -> None:
        self.store = Store(path)
        self.path = self.store.path
        self._cells: dict[str, StoredCell] = {}
        self._done: dict[str, float] = {}
        self.rows: dict[str, Row] = {}
        self.failed: list[StoredCell] = []

    @collector_paused()
    def refresh(self) -> None:
        """Look again.

        Raises:
            StoreError: if a file is damaged, or cannot be read.
        """
        self._cells = {cell.directory.name: cell for cell in Store(self.path).cells(self._cells)}
        unfinished = [name for name in self._cells if name not in self._done]
        states = dict(
            zip(unfinished, in_threads(lambda name: _outcome(self._cells[name]), unfinished), strict=True)
        )
        rows: dict[str, Row] = defaultdict(Row)
        self.failed = []
        for name, cell in self._cells.items():
            check_place(cell)
            row = rows[row_name(cell.cell)]
            row.widths.add(cell.cell["width"])
            row.seeds.add(cell.cell["seed"])
            state, seconds = states.get(name, ("done", self._done.get(name, 0.0)))
            row.counts[state] += 1
            row.seconds += seconds
            if state == "failed":
                self.failed.append(cell)
            elif state == "done":
                self._done[name] = seconds
        self.rows = dict(rows)

    @property
    def sentence(self) -> str:
        """All in a line."""
        rows = self.rows.values()
        n = {state: sum(row.counts[state] for row in rows) for state in ("done", "failed", "pending")}
        runs = runs_at_work(self.path.absolute())
        work = f"; {', '.join(runs)} at work" if runs else "; no run is at work" if n["pending"] else ""
        return f"{n['done']} of {sum(n.values())} cells done, {n['failed']} failed, {n['pending']} pending{work}"

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be computed."""
        return not any(row.counts["pending"] for row in self.rows.values())


def _outcome(cell: StoredCell) -> tuple[str, float]:
    """What came of a cell, and how long it took if it is done."""
    state = cell.state
    return state, cell.seconds() if state == "done" else 0.0
