"""What is too large or too small for a floating-point type is refused, not returned."""

import math

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.pairs import Moments


def check_range(kernels: Moments) -> Moments:
    """Give kernels back if they are finite.

    Raises:
        KernelError: if entries are not.
    """
    for kernel in kernels:
        if kernel is not None and not all(math.isfinite(end) for end in kernel.detach().aminmax()):
            raise KernelError(
                f"the kernel overflows in {kernel.dtype}; {_remedy(kernel.dtype)}scale the inputs or weights down"
            )
    return kernels


def check_resolution(left: Moments, right: Moments, dtype: torch.dtype, diagonal: bool) -> None:
    """Refuse kernels that a type would round to zero, or to a number of fewer digits.

    An entry counts as too small if √(K(x, x) K(x', x')) is: entries are exact relative to that. Zeros are zeros.

    Args:
        left, right: kernels of the inputs on either side with themselves, [n1] and [n2].
        dtype: of the result.
        diagonal: whether inputs are paired one by one.

    Raises:
        KernelError: naming the size of the kernel.
    """
    for mine, others in zip(left, right, strict=True):
        if mine is None or others is None:
            continue
        one, two = mine.detach().sqrt(), others.detach().sqrt()
        size = _smallest(one * two) if diagonal else _smallest(one) * _smallest(two)
        if size < torch.finfo(dtype).tiny:
            raise KernelError(
                f"kernels underflow in {dtype}: they are as small as {size:.1e}; {_remedy(dtype)}scale the inputs "
                "or weights up"
            )


def _smallest(x: Tensor) -> float:
    """Least positive number, ∞ if there is none."""
    return float(torch.where(x > 0, x, torch.inf).min())


def _remedy(dtype: torch.dtype) -> str:
    return "" if dtype == torch.float64 else "pass dtype=torch.float64, or "
