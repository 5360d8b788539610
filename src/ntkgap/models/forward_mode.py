"""Forward-mode derivatives, one thread at a time."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

# torch numbers its levels of forward mode once for the whole process: two threads inside would spoil both.
_ONE_AT_A_TIME = threading.RLock()


def is_transformed() -> bool:
    """Whether this is a call within ``torch.func.grad``, ``vmap`` or the like."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def forward_derivative(
    function: Callable[..., Tensor], at: tuple[Tensor, ...], along: tuple[Tensor, ...], linear: bool = False
) -> tuple[Tensor, Tensor]:
    """The value of a function and its derivative in one direction, from any thread.

    The same as ``torch.func.jvp``. Where nobody but the direction will ask for gradients, dual numbers do without
    its bookkeeping and ask less of the function; some of their formulas write into what other gradients need.

    Args:
        function: of as many tensors as ``at`` holds.
        at: where.
        along: the direction, one tensor of the same shape for each.
        linear: whether gradients of the results will be asked for with respect to ``along`` alone.
    """
    with _ONE_AT_A_TIME:
        if not linear or is_transformed() or forward_ad._current_level >= 0:
            value, change = torch.func.jvp(function, at, along)  # type: ignore[misc]  # three only with has_aux
            return value, change
        with forward_ad.dual_level():
            out = function(*map(forward_ad.make_dual, at, along))
            value, tangent = forward_ad.unpack_dual(out)
            return value, torch.zeros_like(value) if tangent is None else tangent
