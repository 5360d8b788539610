"""Kernel matrices as predictions need them: named, of the right shape, finite, in float64."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.spectrum import check_symmetric
from ntkgap.models.devices import in_float64


def gram_matrix(matrix: Tensor, name: str, size: int | None = None) -> Tensor:
    """A kernel of inputs with themselves, in float64 and exactly symmetric.

    Args:
        matrix: [size, size].
        name: of the matrix, for the message.
        size: number of rows it must have, if known.

    Raises:
        KernelError: if it is not square, finite, symmetric, or of another size.
    """
    try:
        symmetric = check_symmetric(matrix)
    except KernelError as error:
        raise KernelError(f"{name}: {error}") from None
    if size is not None and len(matrix) != size:
        raise KernelError(f"{name} must have shape ({size}, {size}), got {tuple(matrix.shape)}")
    return symmetric


def array(values: Tensor, name: str, shape: tuple[int | None, int | None]) -> Tensor:
    """Any other two-dimensional array, in float64.

    Args:
        values: array of that shape.
        name: of the array, for the message.
        shape: what it must be; None where any positive number will do.

    Raises:
        KernelError: if it has another shape, no floating-point numbers, or some that are not finite.
    """
    fits = values.ndim == 2 and all(
        found == wanted if wanted is not None else found > 0
        for found, wanted in zip(values.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if s is None else str(s) for s in shape)
        raise KernelError(f"{name} must have shape ({wanted}), got {tuple(values.shape)}")
    if not values.is_floating_point():
        raise KernelError(f"{name} must hold floating-point numbers, got {values.dtype}")
    if not torch.isfinite(values).all():
        raise KernelError(f"{name} has NaN or infinite entries")
    return in_float64(values)


def indices(places: Tensor | Sequence[int], size: int, name: str) -> Tensor:
    """Places in an array of ``size`` rows, [n], int64; none of them is allowed.

    Raises:
        KernelError: if they are no whole numbers from 0 to size − 1 in one dimension. A mask is none: read as
            numbers it would name the rows 0 and 1.
    """
    found = torch.as_tensor(places)
    if found.ndim == 1 and found.numel() == 0:
        return found.long()
    whole = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    if found.ndim != 1 or not whole or int(found.min()) < 0 or int(found.max()) >= size:
        raise KernelError(
            f"{name} must be whole numbers, indices from 0 to {size - 1} in one dimension, got {found.dtype} of "
            f"shape {tuple(found.shape)}" + (f" from {int(found.min())} to {int(found.max())}" if whole else "")
        )
    return found.long()


def coarsest_type(tensors: Iterable[Tensor]) -> torch.dtype:
    """The type with the largest rounding unit among those of these tensors."""
    return max((t.dtype for t in tensors), key=lambda dtype: torch.finfo(dtype).eps)


def coarsest(tensors: Iterable[Tensor]) -> float:
    """The largest rounding unit ε among the types of these tensors."""
    return torch.finfo(coarsest_type(tensors)).eps
