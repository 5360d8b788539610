"""How much memory a call may take where it is not told."""

import os
from pathlib import Path

import torch

#: Files that hold the limit and the use of the group of processes we are in, of version 2 and 1 of cgroups.
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory(device: torch.device) -> int:
    """Bytes that are free now on a device: of the machine, or of the container if that has less."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = [_of_machine()]
    for limit, use in _CGROUPS:
        try:
            free.append(int(Path(limit).read_text()) - int(Path(use).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return max(min(free), 0)


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        except (ValueError, OSError, AttributeError):
            return 8 * 2**30
