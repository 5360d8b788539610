"""Whether the cells of a run fit the memory of their device, by the forecast of a dry run.

What a cell is forecast to take of the machine, a process with torch included, is taken for what it takes of a
device, too: CUDA's context is about as large as that process.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from ntkgap.errors import StudyError, StudyWarning, callers_level
from ntkgap.kernels.memory import device_memory
from ntkgap.models.devices import find_device


@dataclass(frozen=True)
class Room:
    """Memory of the devices that a name stands for.

    Attributes:
        name: ``"cuda"``, ``"cuda:1"``, ...
        devices: how many they are; workers take them in turn.
        free: bytes that are free on the one that has least.
        total: bytes of the smallest.
    """

    name: str
    devices: int
    free: float
    total: float

    def workers(self, needs: Sequence[float]) -> int:
        """How many workers have room at once, at least one, whichever cells they have in hand.

        Args:
            needs: bytes of every cell; those that no device holds are not begun, and do not count.
        """
        largest = sorted((need for need in needs if need <= self.total), reverse=True)
        fitting = sum(taken <= self.free for taken in accumulate(largest))
        return self.devices * max(1, fitting) if fitting < len(largest) else max(1, len(needs))

    def capped(self, workers: int, needs: Sequence[float]) -> int:
        """So many workers, or as many as have room.

        Warns:
            StudyWarning: if that is fewer.
        """
        fitting = self.workers(needs)
        if fitting >= min(workers, len(needs)):
            return workers
        warnings.warn(
            f"{self.name} has {self.free / 1e9:.1f} GB free, and a worker takes up to "
            f"{max(n for n in needs if n <= self.total) / 1e9:.1f} GB by the forecast: {fitting} workers at once "
            f"instead of {workers}",
            StudyWarning,
            stacklevel=callers_level(),
        )
        return fitting


def room_on(name: str) -> Room | None:
    """The memory of a device; None for the CPU, and where a device does not say.

    Raises:
        StudyError: if there is no such device.
    """
    device = find_device(name)
    if device.type == "cpu":
        return None
    indices = [device.index]
    if device.index is None:
        indices = list(range(max(1, torch.get_device_module(device.type).device_count())))
    found = [device_memory(torch.device(device.type, index)) for index in indices]
    told = [memory for memory in found if memory is not None]
    if not told:
        return None
    return Room(name, len(indices), min(free for free, _ in told), min(total for _, total in told))


def check_fits(need: float, device: torch.device) -> None:
    """Refuse a cell that its device cannot hold, before it starts.

    Raises:
        StudyError: with both sizes.
    """
    room = room_on(str(device))
    if room is not None and need > room.total:
        raise StudyError(
            f"the cell needs about {need / 1e9:.1f} GB by the forecast, and {device} has "
            f"{room.total / 1e9:.1f} GB: take smaller widths or fewer examples, or --device cpu"
        )
