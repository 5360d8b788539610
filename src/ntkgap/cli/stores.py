"""The stores of a folder, in the order of the studies."""

from pathlib import Path
from typing import TYPE_CHECKING

from ntkgap.errors import StoreError
from ntkgap.paths import is_file, is_folder

if TYPE_CHECKING:
    from ntkgap.sweep import Runs, Store

STUDY_NAMES = ("optimization", "uncertainty", "continual")  # the promises; others are found when they are named


def find_stores(folder: Path) -> "list[Store]":
    """The store at a folder, or all stores directly below it, in the order in which `run` computes studies.

    Raises:
        StoreError: if there is none.
    """
    from ntkgap.sweep.store import META, Store

    if is_file(folder / META):
        return [Store(folder)]
    below = sorted(p.parent for p in folder.glob(f"*/{META}")) if is_folder(folder) else []
    if not below:
        raise StoreError(f"there is no ntkgap store at {folder} or directly below it; 'ntkgap run' makes one")
    order = {name: place for place, name in enumerate(STUDY_NAMES)}
    return sorted(map(Store, below), key=lambda store: order.get(store.meta["study"], len(order)))


def open_stores(folder: Path) -> "list[Runs]":
    """The results of the same stores."""
    from ntkgap.sweep import Runs

    return [Runs(store.path) for store in find_stores(folder)]
