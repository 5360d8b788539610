"""Which run computes which cell, where several share a store: each reserves a cell before it begins it.

::

    STORE/.runs/<run>                  a run at work: locked while its process lives, touched every few seconds
    STORE/workspace/<hash>/.claim      the name of the run that computes the cell

A reservation ends with the run that made it. On the same machine the operating system says whether that run lives.
A run on another machine is taken for dead once its file has not been touched for two minutes by the clock of the
file system, whatever the clocks of the machines say. Should a run be taken for dead that only slept, a cell is
computed twice, with the same numbers.
"""

import contextlib
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from ntkgap.sweep.compute_cell import outcome
from ntkgap.sweep.files import TEMPORARY
from ntkgap.sweep.stored import writing_to

RUNS, RESERVATION = ".runs", ".claim"
BEAT, EXPIRE = 10.0, 120.0
REMEMBER = 0.5  # seconds for which it is not asked again whether another run lives


class Reservations:
    """A run at work in a store, and the cells it has in hand; a context manager around its work.

    Args:
        store: directory of the store.
        beat: seconds between two touches of its file.
        expire: seconds without a touch after which a run on another machine is taken for dead.
    """

    def __init__(self, store: Path, beat: float = BEAT, expire: float = EXPIRE) -> None:
        self.store, self.beat, self.expire = store.absolute(), beat, expire
        self.name = f"{os.getpid()}.{secrets.token_hex(4)}.{_machine()}"
        self._folder = self.store / RUNS
        self._lock = FileLock(self._folder / self.name)
        self._over = threading.Event()
        self._held: set[Path] = set()
        self._known: dict[str, tuple[float, bool]] = {}

    def __enter__(self) -> Self:
        """Begin.

        Raises:
            StoreError: if the store cannot be written to.
        """
        with writing_to(self.store):
            self._folder.mkdir(exist_ok=True)
            self._lock.acquire(timeout=0)
        threading.Thread(target=self._keep_alive, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what is in hand."""
        self._over.set()
        for directory in list(self._held):
            self.release(directory)
        with contextlib.suppress(OSError):
            (self._folder / self.name).unlink()
        self._lock.release()

    def take(self, directory: Path) -> bool:
        """Reserve a cell that nobody computes or has computed.

        Raises:
            StoreError: if its directory cannot be written to.
        """
        with writing_to(self.store):
            if outcome(directory) or not (self._write(directory) or self._take_over(directory)):
                return False
            self._held.add(directory)
            if not outcome(directory):
                return True
        self.release(directory)  # its computer wrote it down after we looked, and then let go of it
        return False

    def _take_over(self, directory: Path) -> bool:
        if self.holder(directory):
            return False
        # One at a time: else the second would remove the first one's reservation for that of the dead.
        with FileLock(self._folder / ".takeover"):
            if not self.holder(directory):
                (directory / RESERVATION).unlink(missing_ok=True)
            return self._write(directory)

    def release(self, directory: Path) -> None:
        """Let go of a cell; where another run has taken it over meanwhile, the reservation is that one's."""
        self._held.discard(directory)
        if _read(directory) == self.name:
            with contextlib.suppress(OSError):
                (directory / RESERVATION).unlink()

    def holder(self, directory: Path) -> str:
        """Name of the living run that computes a cell; empty if there is none."""
        name = _read(directory)
        if name is None:
            return ""
        if not name:  # written a moment ago, or its writer died in between
            age = self._now() - _touched(directory / RESERVATION)
            return "another run" if age < self.expire else ""
        return name if self.lives(name) else ""

    def lives(self, name: str) -> bool:
        """Whether a run is at work."""
        asked, answer = self._known.get(name, (-REMEMBER, False))
        if time.monotonic() - asked > REMEMBER:
            answer = name == self.name or self._ask(name)
            self._known[name] = time.monotonic(), answer
        return answer

    def tidy(self, directories: Iterable[Path]) -> None:
        """Remove what killed runs have left in these directories: reservations, and files that are not whole.

        Raises:
            StoreError: if they cannot be listed or written to.
        """
        with writing_to(self.store):
            self._tidy(directories)

    def _tidy(self, directories: Iterable[Path]) -> None:
        for directory in directories:
            left = [n for n in os.listdir(directory) if n == RESERVATION or n.startswith(TEMPORARY)]
            if left and not self.holder(directory):
                for name in left:
                    (directory / name).unlink(missing_ok=True)
        for name in os.listdir(self._folder):
            if not name.startswith(".") and not self.lives(name):
                (self._folder / name).unlink(missing_ok=True)

    def _ask(self, name: str) -> bool:
        path = self._folder / name
        if not path.is_file():
            return False
        if name.partition(".")[2].partition(".")[2] == _machine():
            return is_locked(path)
        return self._now() - _touched(path) < self.expire

    def _now(self) -> float:
        """What time it is by the clock of the file system."""
        os.utime(self._folder / self.name)
        return _touched(self._folder / self.name)

    def _write(self, directory: Path) -> bool:
        try:
            descriptor = os.open(directory / RESERVATION, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w") as file:
            file.write(self.name)
        return True

    def _keep_alive(self) -> None:
        while not self._over.wait(self.beat):
            with contextlib.suppress(OSError):
                os.utime(self._folder / self.name)


def is_locked(path: Path) -> bool:
    """Whether a process of this machine holds the lock of a file."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def runs_at_work(store: Path) -> list[str]:
    """Where runs are at work in a store, for a reader; nothing is written.

    Of another machine's run it is not known here whether it lives: it is named as long as its file is there.
    """
    try:
        names = sorted(n for n in os.listdir(store / RUNS) if not n.startswith("."))
    except OSError:
        return []
    here = _machine()
    return [describe_run(n) for n in names if not n.endswith(f".{here}") or is_locked(store / RUNS / n)]


def describe_run(name: str) -> str:
    """A run for a reader: its process and machine."""
    pid, _, rest = name.partition(".")
    machine = rest.partition(".")[2].partition(".")[2]
    return f"process {pid} on {machine}" if machine else name


def _machine() -> str:
    """What tells this machine from others, since it was started: containers on it share this."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        boot = "0"
    return f"{boot}.{re.sub(r'[^0-9A-Za-z_-]', '_', socket.gethostname())}"


def _read(directory: Path) -> str | None:
    """What a reservation says; None if there is none."""
    try:
        return (directory / RESERVATION).read_text()
    except OSError:
        return None


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
