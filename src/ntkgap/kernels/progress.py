"""Progress bars over long work, where they are asked for."""

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def tracked(items: Iterable[Item], what: str, shown: bool, total: int | None = None) -> Iterable[Item]:
    """The items, with a bar if it is to be shown; without one rich, which draws random numbers, stays unloaded."""
    if not shown:
        return items
    from rich.progress import track

    return track(items, what, total, transient=True)
