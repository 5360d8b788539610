"""What a cell will cost, foretold: work in units of no machine in particular, and the time it takes on one."""

import heapq
import os
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Self

import torch

from ntkgap.errors import StudyError

# Python, autograd's bookkeeping and the launch of a kernel, for one call of a torch function.
SECONDS_A_CALL = 25e-6
# A worker imports torch before its first cell.
SECONDS_TO_START = 3.0
# Python with torch and all that a cell imports, before the first tensor of any size.
PROCESS_BYTES = 450e6
FITS_EVERYWHERE = 4096


@dataclass(frozen=True)
class Work:
    """What there is to do, whatever the machine.

    Attributes:
        flops: floating-point operations in units of a large float64 matrix product's (a multiply-add is two): work
            that runs slower counts for more.
        traffic: bytes written to memory for the first time; what stays in a cache counts for less.
        calls: calls of torch functions, each with a price of its own however little it computes.
    """

    flops: float = 0.0
    traffic: float = 0.0
    calls: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Both, one after the other."""
        return Work(self.flops + other.flops, self.traffic + other.traffic, self.calls + other.calls)

    def __rmul__(self, times: float) -> "Work":
        """The same, several times."""
        return Work(times * self.flops, times * self.traffic, times * self.calls)


@dataclass(frozen=True)
class Machine:
    """How fast a machine works, in one thread as the workers of a sweep do.

    Attributes:
        flops_per_second: of a large float64 matrix product.
        bytes_per_second: written to memory that was not used before.
    """

    flops_per_second: float
    bytes_per_second: float

    @classmethod
    def measured(cls) -> Self:
        """The present machine, as fast as it is undisturbed: the best of some tries, in a fifth of a second."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            square = torch.ones(512, 512, dtype=torch.float64)
            long = torch.ones(2**23, dtype=torch.float64)
            product, copy = _fastest(lambda: square @ square, 12), _fastest(long.clone, 5)
        finally:
            torch.set_num_threads(threads)
        return cls(2 * 512**3 / product, long.nbytes / copy)

    def seconds(self, work: Work) -> float:
        """Time that the work takes."""
        arithmetic = work.flops / self.flops_per_second + work.traffic / self.bytes_per_second
        return arithmetic + SECONDS_A_CALL * work.calls


# Of a server's core; good enough to tell which of two cells is dearer.
TYPICAL = Machine(5e10, 2.5e9)


@dataclass(frozen=True)
class Estimate:
    """What a cell takes on this machine.

    Attributes:
        flops: as of ``Work``.
        bytes: memory of the worker process at its peak.
        seconds: time in one worker, undisturbed.
        once: the part of it that a worker spends on its first cell of a problem and seed alone.
    """

    flops: float
    bytes: float
    seconds: float
    once: float = 0.0


@cache
def this_machine() -> Machine:
    """Measured once a process."""
    return Machine.measured()


def physical_memory() -> float:
    """Bytes that this machine has; infinite where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return float("inf")


def check_narrowest(problem: str, width: int, foretell: Callable[[int], Estimate]) -> None:
    """Refuse a problem whose narrowest network is far beyond this machine, before it is built.

    Args:
        problem: its name.
        width: the narrowest; below some thousand, networks fit everywhere, and building them says more.
        foretell: what a cell of a width takes; twice too much memory may be the estimate's fault.

    Raises:
        StudyError: naming both sizes.
    """
    if width <= FITS_EVERYWHERE:
        return
    needed, memory = foretell(width).bytes, physical_memory()
    if needed > 2 * memory:
        raise StudyError(
            f"{problem!r} needs about {needed / 1e9:.3g} GB at width {width}, its narrowest, and this machine has "
            f"{memory / 1e9:.3g} GB; use smaller widths or fewer examples (n_train)"
        )


def sweep_seconds(cells: Sequence[tuple[Hashable, Estimate]], workers: int) -> float:
    """Time of a sweep whose workers take cells in the given order, each the next one as soon as it is free.

    Args:
        cells: problem with its variation and seed, in whatever form, and estimate of each.
        workers: how many.
    """
    free = [(SECONDS_TO_START, worker) for worker in range(min(workers, len(cells)))]
    seen: set[tuple[int, Hashable]] = set()
    for key, estimate in cells:
        start, worker = free[0]
        again = (worker, key) in seen
        seen.add((worker, key))
        heapq.heapreplace(free, (start + estimate.seconds - (estimate.once if again else 0.0), worker))
    return max(free)[0] if free else 0.0


def _fastest(call: Callable[[], object], times: int) -> float:
    """Seconds of this thread, in which waiting for others does not count."""
    durations = []
    for _ in range(times):
        start = time.thread_time()
        call()
        durations.append(time.thread_time() - start)
    return min(durations)
