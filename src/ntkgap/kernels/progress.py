"""Progress bars over long work, where they are asked for."""

from collections.abc import Iterable
from typing import TypeVar

from ntkgap.notebook import in_notebook, tracked_in_notebook

Item = TypeVar("Item")


def tracked(items: Iterable[Item], what: str, shown: bool, total: int | None = None) -> Iterable[Item]:
    """The items, with a bar if it is to be shown; without one rich, which draws random numbers, stays unloaded."""
    if not shown:
        return items
    if in_notebook():
        return tracked_in_notebook(items, what, total)
    from rich.progress import track

    return track(items, what, total, transient=True)
