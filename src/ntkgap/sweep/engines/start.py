"""How a worker process starts: with its parent's modules, and no user's file in the standard library's place.

``python -m`` looks for modules in the present folder first, and a copy of the parent's path in ``PYTHONPATH`` goes
before the standard library: then a ``queue.py`` or ``random.py`` that lies beside the data runs in every worker.
So a worker starts without either, and is then given its path in an order that is safe.
"""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from ntkgap.sweep.user_files import FOLDERS

# Runs before anything but the standard library is on the path.
BOOTSTRAP = """
import json, os, sys
path, environment = json.loads(sys.argv.pop())
os.environ.update(environment)  # for processes that a cell starts itself
sys.path[:] = [*path, *(entry for entry in sys.path if entry not in path)]
from ntkgap.sweep.worker import main
main()
"""


def worker_path(path: list[str] | None = None) -> list[str]:
    """Where a worker looks for modules: the standard library, what the parent was told of, the user's folders.

    The parent's order is kept but for the standard library, which comes first, and the folders that Python adds by
    itself (the script's, or the present one), which come last. A folder stays in its place if ntkgap itself was
    imported from it: else a worker could find another version elsewhere. Folders of files that were loaded by
    their path are left out: the worker adds that of the one it loads.

    Args:
        path: of the parent; ``sys.path`` if not given.
    """
    entries = [os.path.abspath(entry) for entry in (sys.path if path is None else path) if isinstance(entry, str)]
    entries = [entry for entry in dict.fromkeys(entries) if entry not in FOLDERS]
    library, implicit, home = _library_folders(), _implicit_folders(), _real(Path(__file__).parents[3])
    first = [entry for entry in entries if _real(entry) in library]
    last = [entry for entry in entries if _real(entry) in implicit - library - {home}]
    return first + [entry for entry in entries if entry not in {*first, *last}] + last


def _real(path: str | Path) -> str:
    return os.path.realpath(path)


def _library_folders() -> set[str]:
    folders = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    folders |= {os.path.join(folder, "lib-dynload") for folder in folders}
    version = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    return {_real(folder) for folder in folders} | {_real(entry) for entry in sys.path if entry.endswith(version)}


def _implicit_folders() -> set[str]:
    """The present folder, and that of the script which was started."""
    folders = {_real(os.getcwd())}
    if script := getattr(sys.modules.get("__main__"), "__file__", None):
        folders.add(os.path.dirname(_real(script)))
    return folders


def start_worker(number: int = 0) -> "subprocess.Popen[bytes]":
    """Start a worker process that reads tasks from its standard input.

    It is told its number, from 0: workers that share several devices take them in turn.

    One thread each: workers share the cores among them, and results do not depend on how many there are.
    MKL is asked for results that do not depend on where in memory a matrix happens to lie either.
    A session of its own keeps the terminal's Ctrl-C for the parent, which ends workers by closing their input.
    """
    arithmetic = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **arithmetic, "MKL_CBWR": "AUTO,STRICT", "NTKGAP_WORKER": str(number)}
    held_back = {name: environment.pop(name) for name in ("PYTHONPATH",) if name in environment}
    return subprocess.Popen(
        # -P: Python adds no folder by itself.
        [sys.executable, "-P", "-c", BOOTSTRAP, json.dumps([worker_path(), held_back])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=environment,
    )
