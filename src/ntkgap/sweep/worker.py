"""A worker process: reads tasks from standard input, computes them one by one, acknowledges each cell.

Started as a program of its own (``engines/start.py``) rather than through ``multiprocessing``, so that scripts and
notebooks need no ``if __name__ == "__main__"`` guard.
"""

import functools
import json
import os
import queue
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from ntkgap.sweep.compute_cell import Task, computed_at_once, resolve, write_outcome
from ntkgap.sweep.files import to_json
from ntkgap.sweep.study import Supplies


def _read_tasks(tasks: "queue.Queue[Task]") -> None:
    supplies: Supplies = {}
    for line in sys.stdin:
        message = json.loads(line)
        supplies = supplies if message["supplies"] is None else message["supplies"]
        first, *beside = (
            Task(message["compute"], cell, directory and Path(directory), supplies)
            for cell, directory in message["cells"]
        )
        tasks.put(replace(first, compute_at_once=message["compute_at_once"], beside=tuple(beside)))
    # End of input: the parent is done with us or dead. Either way nothing half-computed is of use.
    os._exit(0)


def main() -> None:
    """Serve until standard input ends."""
    # Torch says this of networks that it runs as well as it can; a cell's notes say what its reader has to know.
    warnings.filterwarnings("ignore", "There is a performance drop because we have not yet implemented")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a model prints must not look like an answer
    tasks: queue.Queue[Task] = queue.Queue()
    find = functools.cache(resolve)  # a file that changes meanwhile is not loaded again: one run, one code
    threading.Thread(target=_read_tasks, args=(tasks,), daemon=True).start()

    def say(state: str, **more: Any) -> None:
        print(json.dumps(to_json({"state": state, **more}), allow_nan=False), file=answers)

    while True:
        for task, state, content in computed_at_once(tasks.get(), lambda: say("begun"), find):
            if task.directory is None:
                say(state, content=content)
                continue
            try:
                write_outcome(task.directory, state, content)
            except OSError as error:
                say("unwritable", message=f"cannot write to {task.directory}: {error}")
            else:
                say(state)
