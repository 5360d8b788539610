"""Where the cells of a run are computed: a setting of the run, not of what a cell is.

A cell's numbers are those of its configuration; the device changes rounding alone. So it is no part of a cell's
identity: stores of a CPU go on on a GPU and the other way round, and each result says where it was computed.
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

from ntkgap.errors import StudyError
from ntkgap.kernels.memory import halved
from ntkgap.models.devices import find_device, has_float64

CPU = torch.device("cpu")

#: Number of a worker process, from 0, as the local engine gives it.
WORKER = "NTKGAP_WORKER"

T = TypeVar("T", bound=Any)
R = TypeVar("R")

_present: ContextVar[torch.device] = ContextVar("device", default=CPU)


def present() -> torch.device:
    """Where cells are computed now."""
    return _present.get()


@contextmanager
def on(device: torch.device) -> Iterator[None]:
    """Compute there, inside."""
    token = _present.set(device)
    try:
        yield
    finally:
        _present.reset(token)


def moved(thing: T) -> T:
    """A network, data or a tensor on the present device."""
    return thing if present() == CPU else thing.to(present())


def of_worker(name: str) -> torch.device:
    """The device of a name for this process; of several that the name stands for, workers take one in turn.

    Raises:
        StudyError: if there is none.
    """
    device = find_device(name)
    if device.type == "cpu" or device.index is not None:
        return device
    count = max(1, torch.get_device_module(device.type).device_count())
    return torch.device(device.type, int(os.environ.get(WORKER, "0")) % count)


def note_on(device: torch.device) -> str:
    """What a reader has to know of a result."""
    where = f"computed on {device}"
    return where if has_float64(device) else f"{where}; what takes float64 on the CPU, as {device.type} has none"


def with_less_memory(compute: Callable[[], R], notes: list[str]) -> R:
    """Compute; where the device is out of memory, once more with blocks half as large.

    Args:
        compute: called once or twice.
        notes: where it is noted.

    Raises:
        StudyError: if that does not suffice.
    """
    try:
        return compute()
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
    _release()
    notes.append(f"{present()} was out of memory; computed again with blocks half as large")
    try:
        with halved():
            return compute()
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
    _release()
    raise StudyError(
        f"{present()} is out of memory, with blocks half as large too ({reason}); run fewer workers on it, take "
        "smaller widths or fewer examples, or --device cpu"
    )


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)


def _release() -> None:
    """Give memory that nobody uses back to the device."""
    gc.collect()
    if hasattr(module := torch.get_device_module(present()), "empty_cache"):
        module.empty_cache()
