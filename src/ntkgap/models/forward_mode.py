"""Forward-mode derivatives, one thread at a time."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

# torch numbers its levels of forward mode once for the whole process: two threads inside would spoil both.
_ONE_AT_A_TIME = threading.RLock()


def forward_derivative(
    function: Callable[..., Tensor], at: tuple[Tensor, ...], along: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """The value of a function and its derivative in one direction, as ``torch.func.jvp``, from any thread.

    Args:
        function: of as many tensors as ``at`` holds.
        at: where.
        along: the direction, one tensor of the same shape for each.
    """
    with _ONE_AT_A_TIME:
        value, change = torch.func.jvp(function, at, along)  # type: ignore[misc]  # three only with has_aux
    return value, change
