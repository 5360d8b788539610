"""Devices by name, and what they lack."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ntkgap.errors import StudyError

WITHOUT_FLOAT64 = {"mps"}

T = TypeVar("T", bound=Any)


def available_devices() -> list[str]:
    """Names of the devices of this machine: ``cpu``, then every accelerator by its number."""
    kinds = dict.fromkeys(("cuda", "mps", "xpu", torch._C._get_privateuse1_backend_name()))
    return ["cpu", *(f"{kind}:{i}" for kind in kinds for i in range(_count(kind)))]


def find_device(name: str | torch.device) -> torch.device:
    """The device of a name such as ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Raises:
        StudyError: if this machine has none, naming those it has.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is not None and (device.type == "cpu" or (device.index or 0) < _count(device.type)):
        return device
    known = ", ".join(available_devices())
    raise StudyError(f"there is no device {str(name)!r} on this machine; choose one of {known}")


def _count(kind: str) -> int:
    """How many devices of a kind there are; nothing is started on them."""
    if kind in ("cpu", "meta"):
        return 0
    try:
        module = torch.get_device_module(kind)
        return int(module.device_count()) if module.is_available() else 0
    except (RuntimeError, AttributeError):
        return 0


def has_float64(device: torch.device) -> bool:
    """Whether a device computes in float64; Apple's does not."""
    return device.type not in WITHOUT_FLOAT64


def in_float64(thing: T) -> T:
    """A tensor, a network or data in float64, moved to the CPU where their device has none.

    Networks are cast in place, as ``double`` does.
    """
    if isinstance(thing, nn.Module):
        first = next(thing.parameters(), None)
        kept = first is None or has_float64(first.device)
        return thing.double() if kept else thing.cpu().double()
    device = thing.device if isinstance(thing, Tensor) else thing.x.device
    return (thing if has_float64(device) else thing.to("cpu")).to(torch.float64)
