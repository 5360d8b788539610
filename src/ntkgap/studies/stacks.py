"""Which cells are computed at once on a GPU: those that differ by their seed alone, as many as it has room for.

Small networks leave a GPU idle, which waits for the next operation. One vectorized call for all seeds has as many
operations as one for a single seed.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ntkgap.studies.device_memory import Room

# Results of a stack come at its end, and what was not finished is lost with a process.
MOST = 32

Memory = Callable[[Mapping[str, Any], int], float]
"""Forecast of the bytes that so many cells like one take at once."""


def stacks_of(cells: Sequence[Mapping[str, Any]], room: Room, workers: int, memory: Memory) -> list[list[int]]:
    """Cells that are computed at once, by their places; those that come first are of the first ones given.

    A stack takes no more than a worker's share of what is free on its device, by the forecast; but for a single
    cell, which is tried as it is. Where there are several devices, each gets some of the cells.

    Args:
        cells: that are to be computed.
        room: memory of the devices.
        workers: that share them.
        memory: the forecast.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i, cell in enumerate(cells):
        groups[json.dumps({k: v for k, v in cell.items() if k != "seed"}, sort_keys=True)].append(i)
    # Workers beyond the number of groups have nothing to do.
    sharing = math.ceil(min(workers, len(groups)) / room.devices)
    most = min(MOST, math.ceil(len(cells) / room.devices))
    found = []
    for group in groups.values():
        one, two = (memory(cells[group[0]], n) for n in (1, 2))
        free = max(0.0, room.free / sharing - one)
        fitting = most if two <= one else min(most, 1 + int(free // (two - one)))  # it grows evenly
        parts = math.ceil(len(group) / fitting)
        size = math.ceil(len(group) / parts)
        found += [group[i : i + size] for i in range(0, len(group), size)]
    return found
