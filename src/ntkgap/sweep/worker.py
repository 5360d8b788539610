"""A worker process: reads tasks from standard input, computes them one by one, acknowledges each.

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
from pathlib import Path

from ntkgap.sweep.cell import Task, compute_cell, resolve
from ntkgap.sweep.study import Supplies


def _read_tasks(tasks: "queue.Queue[Task]") -> None:
    supplies: Supplies = {}
    for line in sys.stdin:
        message = json.loads(line)
        supplies = supplies if message["supplies"] is None else message["supplies"]
        tasks.put(Task(message["compute"], message["cell"], Path(message["directory"]), supplies))
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

    def say(state: str, message: str = "") -> None:
        print(json.dumps({"state": state, "message": message}), file=answers)

    while True:
        task = tasks.get()
        try:
            say(compute_cell(task, lambda: say("begun"), find))
        except OSError as error:
            say("unwritable", f"cannot write to {task.directory}: {error}")
