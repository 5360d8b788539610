"""The empirical neural tangent kernel of any ``nn.Module``."""

from torch import Tensor, nn

from ntkgap.kernels.empirical.jacobian import ParameterSelection, jacobian


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
    dtype=None,
    progress: bool = False,
) -> Tensor:
    """Placeholder of the first commit: dense Jacobians."""
    j1 = jacobian(model, x1, parameters=parameters, dtype=dtype)
    return j1.gram(None if x2 is None else jacobian(model, x2, parameters=parameters, dtype=dtype))
