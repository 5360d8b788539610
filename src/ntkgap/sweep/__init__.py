"""A grid of cells, each computed once, resumable; knows nothing of what a cell computes."""

from ntkgap.sweep.run import default_workers, planned_cells, preview, run, run_as_chosen, shared_workers, try_cells
from ntkgap.sweep.runs import Runs
from ntkgap.sweep.store import Store
from ntkgap.sweep.study import Cell, Result, Study, describe

__all__ = [
    "Cell",
    "Result",
    "Runs",
    "Store",
    "Study",
    "default_workers",
    "describe",
    "planned_cells",
    "preview",
    "run",
    "run_as_chosen",
    "shared_workers",
    "try_cells",
]
