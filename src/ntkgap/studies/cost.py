"""What a sweep will take: memory from the sizes of a network, time from cells that were measured."""

import heapq
import os
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.sweep import Study, try_cells

# Python with torch and all that a cell imports, before the first tensor of any size.
PROCESS_BYTES = 450e6
# Matrices of the size of the Gram matrix that a cell holds at once; copies of the parameters.
GRAM_COPIES, PARAMETER_COPIES = 10, 8
ITEM = 8  # bytes of a float64

# A worker imports torch before its first cell.
SECONDS_TO_START = 3.0
# A pilot must not need more memory than there is: wider networks are not tried.
WIDEST_PILOT = 4096
# Seconds that a dry run may spend on measuring a few cells.
PILOT_SECONDS = 8.0

Place = tuple[str, str]
"""A problem and its variation: what cells share that differ in width and seed alone."""


@dataclass(frozen=True)
class Sizes:
    """What a cell holds in memory.

    Attributes:
        parameters: of the network.
        activations: entries of what all layers return for one example.
        rows: of the largest matrix of all pairs of examples (and outputs).
        gradients: rows of the Jacobian that are kept at once: examples times outputs.
    """

    parameters: int
    activations: int
    rows: int
    gradients: int

    @property
    def bytes(self) -> float:
        """Memory at the peak, roughly: never below what these arrays take."""
        arrays = GRAM_COPIES * self.rows**2 + 3 * self.gradients * self.activations
        return PROCESS_BYTES + ITEM * (arrays + PARAMETER_COPIES * self.parameters)


def network_sizes(network: nn.Module, x: Tensor) -> tuple[int, int]:
    """Parameters of a network, and entries of what its layers return for one example.

    Args:
        network: the network.
        x: at least one input, [n, ...].
    """
    entries = 0

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal entries
        entries += output.numel() if isinstance(output, Tensor) else 0

    leaves = [module for module in network.modules() if not any(module.children())]
    handles = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        with torch.no_grad():
            network(x[:1])
    finally:
        for handle in handles:
            handle.remove()
    return sum(p.numel() for p in network.parameters()), entries


def place_of(cell: Mapping[str, Any]) -> Place:
    """Problem and variation of a cell."""
    return cell["problem"], cell["variation"]


class Seconds:
    """Seconds of cells, from some that were measured.

    Between two widths of a problem time is taken to grow as a + b·m with the width m, beyond the widest as m²:
    dense layers have m² weights. That is rough, and good to a factor of two or three.

    Args:
        cells: that were computed, with their seconds.
    """

    def __init__(self, cells: Sequence[tuple[Mapping[str, Any], float]]) -> None:
        found: dict[Place, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for cell, seconds in cells:
            found[place_of(cell)][cell["width"]].append(seconds)
        self._known = {
            place: {width: statistics.median(values) for width, values in widths.items()}
            for place, widths in found.items()
        }

    def of(self, cell: Mapping[str, Any]) -> float | None:
        """Seconds of a cell; None where nothing is known of its problem.

        Variations for which nothing is known are taken to last as long as their problem.
        """
        name, _ = place = place_of(cell)
        known = self._known.get(place) or self._known.get((name, ""))
        if not known:
            return None
        width, widths = cell["width"], sorted(known)
        below = [w for w in widths if w <= width]
        above = [w for w in widths if w >= width]
        if below and above:
            low, high = below[-1], above[0]
            part = 0.0 if low == high else (width - low) / (high - low)
            return (1 - part) * known[low] + part * known[high]
        nearest = below[-1] if below else above[0]
        return known[nearest] * max(1.0, (width / nearest) ** 2 * _share(known))


def _share(known: Mapping[int, float]) -> float:
    """Which fraction of the seconds at the widest width known grows with the width, as two widths show it."""
    widths = sorted(known)
    if len(widths) < 2:
        return 0.25
    narrow, wide = known[widths[-2]], known[widths[-1]]
    return min(1.0, max(0.02, (wide - narrow) / wide))


def pilots(study: Study, cells: Sequence[Mapping[str, Any]], limit: float = PILOT_SECONDS) -> Seconds:
    """Compute a few cells of a study, in a folder that is thrown away, to see how long they take.

    Of every problem the narrowest network, then one of middle width; no more are begun after the limit, and those
    that then still run are stopped.

    Args:
        study: whose cells they are.
        cells: those that are to be computed.
        limit: seconds.
    """
    places: dict[Place, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in sorted(cells, key=lambda c: (c["width"], c["seed"])):
        if not cell["variation"] and cell["width"] <= WIDEST_PILOT:
            places[place_of(cell)].append(cell)
    narrow = [found[0] for found in places.values()]
    middle = [found[len(found) // 2] for found in places.values() if len(found) > 2]
    chosen = [dict(cell) for cell in [*narrow, *(cell for cell in middle if cell not in narrow)]]
    return Seconds(try_cells(study, chosen, limit))


def sweep_seconds(cells: Sequence[float], workers: int) -> float:
    """Time of a sweep whose workers take cells in the given order, each the next one as soon as it is free.

    Args:
        cells: seconds of each.
        workers: how many.
    """
    free = [SECONDS_TO_START] * min(workers, len(cells))
    for seconds in cells:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free, default=0.0)


def physical_memory() -> float:
    """Bytes that this machine has; infinite where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return float("inf")
