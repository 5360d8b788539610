"""Where a scalar function has a kink: a jump of its first or second derivative."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RANGE = 40.0
STEP = 1 / 32
SMALLEST = 1e-4
"""Jumps below this are left to the error estimate."""
MOST = 6


ORDERS = 4
"""Jumps are measured up to this derivative."""


@dataclass(frozen=True)
class Kink:
    """A point where derivatives of φ jump: ``jumps[i]`` is φ^(i+1) right of it minus φ^(i+1) left of it."""

    position: float
    jumps: tuple[float, ...]


def find_kinks(function: Callable[[Tensor], Tensor]) -> tuple[Kink, ...]:
    """The kinks of φ on [−40, 40], by bisection of every interval of a fine grid.

    In a smooth interval the change of a derivative halves with the interval, across a jump it stays. A
    function with more than six kinks is treated as having none: the error estimates then tell what that costs.
    """
    ends = torch.arange(-RANGE, RANGE, STEP, dtype=torch.float64) + STEP / torch.pi  # keeps off round numbers
    a, b = ends[:-1], ends[1:]
    for step in range(48):
        middle = (a + b) / 2
        left, center, right = (_derivatives(function, x) for x in (a, middle, b))
        to_left = (center - left).abs().amax(0) >= (right - center).abs().amax(0)
        a, b = torch.where(to_left, a, middle), torch.where(to_left, middle, b)
        if step in (12, 20, 30):
            jumps = (_derivatives(function, b) - _derivatives(function, a)).abs().amax(0) > SMALLEST
            a, b = a[jumps], b[jumps]
        if not len(a):
            return ()
    places = sorted({round(float(x), 12) + 0.0 for x in (a + b) / 2})
    return tuple(_kink(function, x) for x in places) if len(places) <= MOST else ()


def _kink(function: Callable[[Tensor], Tensor], position: float) -> Kink:
    aside = 1e-11 * max(1.0, abs(position))  # farther than the rounding of the place
    both = torch.tensor([position - aside, position + aside], dtype=torch.float64)
    derivatives = _derivatives(function, both, ORDERS)
    jumps = (derivatives[:, 1] - derivatives[:, 0]).tolist()
    return Kink(position, tuple(jump if abs(jump) > 1e-8 else 0.0 for jump in jumps))


def _derivatives(function: Callable[[Tensor], Tensor], x: Tensor, orders: int = 2) -> Tensor:
    """φ', φ'', … at x: [orders, n]; zeros from where torch can no longer differentiate."""
    found: list[Tensor] = []
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        y = function(leaf.clone())
        while len(found) < orders and y.requires_grad:
            try:
                (slope,) = torch.autograd.grad(y.sum(), leaf, create_graph=True, allow_unused=True)
            except RuntimeError:  # some of torch's functions can be differentiated once only
                break
            if slope is None:
                break
            found.append(slope.detach())
            y = slope
    found += [torch.zeros_like(x)] * (orders - len(found))
    return torch.stack(found).nan_to_num()
