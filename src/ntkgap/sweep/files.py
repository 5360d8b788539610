"""JSON files that are either complete or absent, whenever the writing process dies."""

import contextlib
import gc
import json
import math
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

# How many threads wait for files, how many calls each takes in hand, and seconds after which a call has waited.
THREADS, TOGETHER, WAITING = 4, 100, 50e-6
A = TypeVar("A")
B = TypeVar("B")


def to_json(value: Any) -> Any:
    """Make a value strict JSON: NaN becomes null, and the infinities become the strings "inf" and "-inf"."""
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def number(value: Any) -> Any:
    """Undo ``to_json`` for one scalar that is known to be a number or text."""
    if value is None:
        return math.nan
    return float(value) if value in ("inf", "-inf") else value


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as strict JSON in one atomic step.

    Raises:
        OSError: if the directory cannot be written to; the old file, if any, is untouched.
    """
    write_atomically(path, json.dumps(to_json(value), indent=1, allow_nan=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write a text file in one atomic step: whoever reads it sees the old text or the new, never half.

    Raises:
        OSError: if the directory cannot be written to; the old file, if any, is untouched.
    """
    write_bytes_atomically(path, text.encode("utf-8"))


TEMPORARY = ".writing-"  # what the names of files begin with that are not whole yet


def write_bytes_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """The same for a file of bytes. A link at ``path`` is replaced by the file; where it leads is untouched.

    Args:
        path: of the file.
        content: of it.
        durable: whether it is on the disk when this returns, so that it outlasts a loss of power.

    Raises:
        OSError: if the directory cannot be written to; the old file, if any, is untouched.
    """
    # Numbers of processes of several machines may be the same: the name is drawn.
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    try:
        # Made anew: a link that stands there is not followed.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_bytes(path: str | os.PathLike[str], last: int | None = None) -> bytes:
    """What a file holds, or its last bytes; by the fewest calls, as stores have thousands of small files.

    Raises:
        OSError: if it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        if last is not None:
            os.lseek(descriptor, max(0, os.lseek(descriptor, 0, os.SEEK_END) - last), os.SEEK_SET)
            return os.read(descriptor, last)
        content = os.read(descriptor, 4096)
        while more := os.read(descriptor, 65536):
            content += more
        return content
    finally:
        os.close(descriptor)


def in_threads(call: Callable[[A], B], arguments: Iterable[A]) -> Iterator[B]:
    """What a call that reads files gives of each argument, in order.

    Where files are not in memory, or on another machine, nearly all time is waiting, and several threads wait at a
    time. Where nothing has to wait threads only cost: they start once a tenth of a hundred calls have waited. One
    that takes long says nothing, as the processor may have been given to another process.

    Raises:
        Exception: the first that a call raises; what has not begun then does not begin.
    """
    left = list(arguments)
    parts = (left[i : i + TOGETHER] for i in range(0, len(left), TOGETHER))
    for part in parts:
        waited = 0
        for argument in part:
            begun = time.perf_counter()
            answer = call(argument)
            waited += time.perf_counter() - begun > WAITING
            yield answer
        if 10 * waited > TOGETHER:
            break
    with ThreadPoolExecutor(THREADS) as pool:
        for answers in pool.map(lambda part: [call(argument) for argument in part], parts):  # those that are left
            yield from answers


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python's garbage collector from looking through objects while thousands are made that all stay.

    Its looks take a quarter of the time in which the cells of a large store are read.
    """
    was_at_work = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_at_work:
            gc.enable()


def read_json(path: Path) -> Any:
    """Read what ``write_json`` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file.

    Raises:
        OSError: if one may not look.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
