"""Kernel matrices as what is computed from them needs them: laid out, named, finite, symmetric, in float64."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.models.devices import in_float64


def as_matrix(kernel: Tensor) -> Tensor:
    """Lay a full kernel [n1, n2, C, C] out as the Gram matrix [n1·C, n2·C] of the stacked outputs.

    Example:
        >>> kernel = ng.empirical_ntk(ng.MLP(3, 2, 8, 1), torch.randn(5, 3))
        >>> kernel.shape, ng.as_matrix(kernel).shape
        (torch.Size([5, 5, 2, 2]), torch.Size([10, 10]))
    """
    n1, n2, c1, c2 = kernel.shape
    return kernel.permute(0, 2, 1, 3).reshape(n1 * c1, n2 * c2)


def check_gram(gram: Tensor) -> Tensor:
    """Return a Gram matrix as it is if it is square, floating point and finite.

    Raises:
        KernelError: otherwise; a full kernel [n, n, C, C] is pointed to ``as_matrix``.
    """
    if gram.ndim == 4:
        raise KernelError(
            f"the kernel has shape {tuple(gram.shape)}; lay it out as a matrix with as_matrix(kernel) first"
        )
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.shape[0] == 0:
        raise KernelError(f"a Gram matrix is square, [n, n] with n ≥ 1; got shape {tuple(gram.shape)}")
    if not gram.is_floating_point():
        raise KernelError(f"a Gram matrix holds floating-point numbers, got {gram.dtype}")
    if not torch.isfinite(gram).all():
        raise KernelError(
            "the Gram matrix has NaN or infinite entries; the network's outputs or their gradients "
            "overflow at these parameters"
        )
    return gram


def check_symmetric(gram: Tensor, precision: torch.dtype | None = None) -> Tensor:
    """Return the symmetric part of a Gram matrix in float64; what is left out must be rounding.

    Args:
        gram: [n, n].
        precision: type of the arithmetic that made the entries, if coarser than the matrix's own type.

    Raises:
        KernelError: if the matrix is not square, not finite or not symmetric.
    """
    g = in_float64(check_gram(gram))
    asymmetry = float((g - g.T).abs().max())
    scale = float(g.abs().max())
    if asymmetry > 100 * len(g) * torch.finfo(precision or gram.dtype).eps * scale:
        raise KernelError(
            f"the matrix is not symmetric (entries differ by up to {asymmetry:.3g} at a scale of {scale:.3g}); "
            "a Gram matrix is the kernel of inputs with themselves"
        )
    return (g + g.T) / 2


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
