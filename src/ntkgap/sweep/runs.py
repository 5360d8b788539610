"""The results in a store, as tables and curves."""

from collections import Counter
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ntkgap.sweep.files import number
from ntkgap.sweep.store import Store, flatten
from ntkgap.sweep.stored import ReadCell, StoredCell

if TYPE_CHECKING:
    import pandas as pd


class Runs:
    """Results of one study.

    Args:
        path: directory of the store.

    Attributes:
        path: the same, as a ``Path``.
        study: name of the study.
        configuration: what the study was last asked to do.
        looks: the ``schedule`` and ``seeds`` by which seeds were added where a verdict was open; None if all were
            planned at once.

    Raises:
        StoreError: if there is no store at ``path``, or another version of ntkgap wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        store = Store(path)
        self.path = store.path
        self.study: str = store.meta["study"]
        self.version: int = store.meta["version"]
        self.axes: list[str] = store.meta.get("axes", [])
        self.configuration: dict[str, Any] = store.meta.get("configuration", {})
        self.looks: dict[str, Any] | None = store.meta.get("looks")
        self.cells: list[StoredCell] = store.cells()

    def snapshot(self) -> Self:
        """The same results as they are now: of a store that grows meanwhile, every part tells the same."""
        if all(isinstance(cell, ReadCell) for cell in self.cells):
            return self
        found = copy(self)
        found.cells = [ReadCell(c.cell, c.directory) for c in self.cells]
        for cell in found.cells:
            _ = cell.state  # now, and not when it is first asked for
        return found

    def counts(self) -> Counter[str]:
        """How many cells are done, failed and pending."""
        return Counter(cell.state for cell in self.cells)

    def failures(self) -> list[tuple[dict[str, Any], str]]:
        """Configuration and error message of every failed cell."""
        return [(c.cell, c.failure()["message"]) for c in self.cells if c.state == "failed"]

    def to_pandas(self) -> "pd.DataFrame":
        """One row a cell: its configuration, its state, and, where it is done, what was measured.

        NaN is a quantity that could not be decided or was not measured in a cell, infinity one that diverged.
        Columns whose names begin with ``seconds`` are read from a clock; only they differ between two runs of
        the same study.
        """
        import pandas as pd  # here, since workers import this module and make no tables

        rows = []
        for stored in self.cells:
            row: dict[str, Any] = {axis: stored.cell.get(axis) for axis in self.axes}
            row |= {"state": stored.state}
            if stored.state == "done":
                result = stored.result()
                row["state"] = "diverged" if result["diverged"] else "done"
                row |= {name: number(value) for name, value in result["scalars"].items()}
                row["seconds"] = result["seconds"]
                row["notes"] = "; ".join(result["notes"])
            elif stored.state == "failed":
                row["notes"] = stored.failure()["message"]
            row |= {k: v for k, v in flatten(stored.cell).items() if k not in row}
            rows.append(row)
        frame = pd.DataFrame(rows)
        last = [c for c in ("seconds", "notes") if c in frame]
        return frame[[c for c in frame if c not in last] + last]

    def curves(self, *names: str) -> list[tuple[dict[str, Any], dict[str, list[float]]]]:
        """Configuration and the named curves of every computed cell that has them all."""
        found = []
        for stored in self.cells:
            if stored.state == "done":
                curves = stored.result()["curves"]
                if all(name in curves for name in names):
                    found.append((stored.cell, {n: [number(v) for v in curves[n]] for n in names}))
        return found
