"""Where cells are computed."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from ntkgap.sweep.compute_cell import Task
from ntkgap.sweep.engines.local import Event, LocalEngine


class Engine(Protocol):
    """Anything that computes tasks and tells what became of each."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Event]:
        """Compute ``tasks``, yielding an event as each ends.

        They may be chosen as results come in: take one only when it can be begun.
        """
        ...


__all__ = ["Engine", "Event", "LocalEngine"]
