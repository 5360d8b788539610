"""Numbers of the cell processes of Dask workers: those that share the devices of a machine take them in turn.

The workers of a cluster start and end by themselves, and nobody counts those of one machine. So each process holds
the lock of a file, numbered from 0, as long as it lives: a new one takes the lowest number that is free, so that
one that replaces another takes its number. Those that see other devices, or have another folder for temporary
files, count apart: under dask-cuda and Slurm, which give each worker a device of its own as the first one it sees,
the first process of each has the number 0.
"""

import contextlib
import hashlib
import os
import tempfile
from itertools import count
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from ntkgap.sweep.engines.local import Worker

VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


def places_folder() -> Path:
    """Where the locks of all processes of this user lie that see the same devices as this one."""
    seen = repr([os.environ.get(name) for name in VISIBLE])
    user = os.getuid() if hasattr(os, "getuid") else ""
    devices = hashlib.md5(seen.encode(), usedforsecurity=False).hexdigest()[:8]
    return Path(tempfile.gettempdir(), f"ntkgap-places-{user}", devices)


class PlacedWorker(Worker):
    """A worker process whose number no other has, where the locks can be written to; else it is 0."""

    def __init__(self) -> None:
        number, self._place = _lowest_free()
        try:
            super().__init__(number)
        except BaseException:
            self._let_go()
            raise

    def end(self) -> None:
        """Have it end, and let go of its number."""
        super().end()
        self._let_go()

    def _let_go(self) -> None:
        if self._place is not None:
            self._place.release()


def _lowest_free() -> tuple[int, BaseFileLock | None]:
    """The lowest number that is free, and its lock; without locks, which a run on CPUs does not need, 0."""
    try:
        (folder := places_folder()).mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in count():
            # Another thread may end the process than has started it.
            lock = FileLock(folder / str(number), thread_local=False)
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
                return number, lock
    except (OSError, NotImplementedError):  # another user's folder, or a disk without locks
        pass
    return 0, None
