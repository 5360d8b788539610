"""Engines for cells that take less time than a worker process takes to start."""

import json

from ntkgap.sweep.compute_cell import compute_cell, computed, write_outcome
from ntkgap.sweep.engines import Event


class Here:
    """Computes in this process, whatever the number of workers."""

    workers = 1

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, tasks):
        for task in tasks:
            yield Event(task, compute_cell(task))


class HereOnce(Here):
    """Computes a cell of a package's own study once a process, for tests of what is done with results."""

    known = {}  # noqa: RUF012

    def run(self, tasks):
        for task in tasks:
            key = (task.compute, json.dumps(task.cell, sort_keys=True))
            if task.supplies:  # of the user's own, which a cell does not name in full
                yield Event(task, compute_cell(task))
                continue
            if key not in self.known:
                self.known[key] = computed(task)
            write_outcome(task.place, *self.known[key])
            yield Event(task, self.known[key][0])
