"""The Jacobian of a network's outputs with respect to its parameters, at one point of parameter space."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

ParameterSelection = Iterable[str] | Callable[[str, nn.Parameter], bool] | None


class Jacobian:
    """J(θ) of the stacked outputs f(x; θ), remembered for products with other Jacobians.

    Attributes:
        outputs: f(x; θ), [n, C].
    """

    def __init__(self, outputs: Tensor, blocks: dict[str, Tensor]) -> None:
        self.outputs = outputs
        self._blocks = {k: b.flatten(2) for k, b in blocks.items()}  # name -> [n, C, P_name]
        self._shapes = {k: b.shape[2:] for k, b in blocks.items()}

    def gram(self, other: "Jacobian | None" = None) -> Tensor:
        """J Jᵀ, or J J'ᵀ with the Jacobian at other inputs or other parameter values: [n, n', C, C]."""
        other = self if other is None else other
        return sum(
            torch.einsum("iap,jbp->ijab", block, other._blocks[name]) for name, block in self._blocks.items()
        )

    def vjp(self, v: Tensor) -> dict[str, Tensor]:
        """Jᵀ v for v of shape [n, C], by parameter name."""
        return {k: torch.einsum("nc,ncp->p", v, b).view(self._shapes[k]) for k, b in self._blocks.items()}


def jacobian(
    model: nn.Module,
    x: Tensor,
    *,
    parameters: ParameterSelection = None,
    dtype: torch.dtype | None = None,
) -> Jacobian:
    """Evaluate the Jacobian of ``model`` at inputs ``x`` of shape [n, ...] and its present parameters."""
    theta = {k: p.detach().to(dtype) if dtype else p.detach() for k, p in model.named_parameters()}
    x = x.to(dtype) if dtype else x
    buffers = {k: b.to(dtype) if dtype and b.is_floating_point() else b for k, b in model.named_buffers()}

    def f(params, xi):
        return functional_call(model, (params, buffers), (xi[None],))[0]

    blocks = vmap(jacrev(f), (None, 0))(theta, x)
    outputs = functional_call(model, (theta, buffers), (x,))
    return Jacobian(outputs.detach(), blocks)
