"""The empirical neural tangent kernel of any ``nn.Module``."""

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.jacobian import jacobian
from ntkgap.kernels.empirical.selection import ParameterSelection

OUTPUTS = ("full", "mean", "diagonal", "sum")


def as_matrix(kernel: Tensor) -> Tensor:
    """Lay a full kernel [n1, n2, C, C] out as the Gram matrix [n1·C, n2·C] of the stacked outputs."""
    n1, n2, c1, c2 = kernel.shape
    return kernel.permute(0, 2, 1, 3).reshape(n1 * c1, n2 * c2)


def empirical_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    outputs: str = "full",
    *,
    parameters: ParameterSelection = None,
    memory_budget: int | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = False,
) -> Tensor:
    """Empirical neural tangent kernel of ``model`` (first step: whole Jacobians in factored form)."""
    if outputs not in OUTPUTS:
        raise KernelError(f"unknown outputs={outputs!r}; choose one of {', '.join(OUTPUTS)}")
    one = jacobian(model, x1, parameters=parameters, dtype=dtype)
    two = None if x2 is None else jacobian(model, x2, parameters=parameters, dtype=dtype, recipe=one.recipe)
    kernel = one.gram(two)
    if outputs == "full":
        return kernel
    diagonal = kernel.diagonal(dim1=2, dim2=3)
    if outputs == "diagonal":
        return diagonal
    return diagonal.mean(2) if outputs == "mean" else kernel.sum((2, 3)) / kernel.shape[2]
