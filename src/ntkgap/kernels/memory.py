"""How much memory a call may take where it is not told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch

from ntkgap.errors import KernelError

#: Files that hold the limit and the use of the group of processes we are in, of version 2 and 1 of cgroups.
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def check_budget(memory_budget: object) -> None:
    """Refuse what is no number of bytes.

    Raises:
        KernelError: if it is not a positive number.
    """
    if memory_budget is None:
        return
    whole = isinstance(memory_budget, int | float) and float(memory_budget).is_integer()
    if isinstance(memory_budget, bool) or not whole or memory_budget < 1:  # type: ignore[operator]
        raise KernelError(
            f"memory_budget must be a positive number of bytes, got {memory_budget!r}; 10**9 is a gigabyte"
        )


_share: ContextVar[float] = ContextVar("share", default=1.0)


@contextmanager
def halved() -> Iterator[None]:
    """Inside, half as much memory counts as free."""
    token = _share.set(_share.get() / 2)
    try:
        yield
    finally:
        _share.reset(token)


def free_memory(device: torch.device) -> int:
    """Bytes that are free now on a device: of the machine, or of the container if that has less."""
    return int(_share.get() * _free(device))


def share_of_memory() -> float:
    """Which fraction of what is free counts now, 1 or less."""
    return _share.get()


def device_memory(device: torch.device) -> tuple[int, int] | None:
    """Bytes that are free on an accelerator, and all that it has; None where it does not say."""
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return max(0, total - torch.mps.driver_allocated_memory()), total
    if device.type == "cpu" or not hasattr(module := torch.get_device_module(device.type), "mem_get_info"):
        return None
    free, total = module.mem_get_info(device)
    return int(free), int(total)


def _free(device: torch.device) -> int:
    if (found := device_memory(device)) is not None:
        return found[0]
    free = [_of_machine()]
    for limit, use, statistics in _CGROUPS:
        try:
            room = int(Path(limit).read_text()) - int(Path(use).read_text())
            free.append(room + _cached(Path(statistics)))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return max(min(free), 0)


def _cached(statistics: Path) -> int:
    """Bytes of files that are kept in memory for as long as nobody needs it."""
    try:
        lines = statistics.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, StopIteration):
        return 0


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        except (ValueError, OSError, AttributeError):
            return 8 * 2**30
