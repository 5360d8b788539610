"""The largest eigenvalue of the Gauss–Newton matrix of the loss, by which steps become unstable."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.linalg import as_matrix
from ntkgap.practice.monitor.linearization_gap import Linearization, evaluation_of

Product = Callable[[Tensor], Tensor]


def curvature_of_kernel(kernel: Tensor, loss_curvature: Product | None, shape: torch.Size) -> float:
    r"""κ_max of JᵀSJ, whose nonzero eigenvalues are those of K^{1/2} S K^{1/2}, from the whole kernel.

    S is the second derivative of the loss by the outputs: the identity for ½‖f − y‖², and diag p − ppᵀ an example
    for cross-entropy, divided by n for means. Near interpolation this is the Hessian's own largest eigenvalue.

    Args:
        kernel: K, [n, n, C, C].
        loss_curvature: w ↦ S w; None for the identity.
        shape: of the outputs, as the loss takes them.
    """
    gram = as_matrix(kernel).double()
    values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
    if loss_curvature is None:
        return float(values[-1])
    root = vectors * values.clamp_min(0).sqrt()
    columns = [loss_curvature(w.reshape(shape).to(kernel.dtype)).reshape(-1) for w in root.T]
    inner = root.T @ torch.stack(columns, 1).double()
    return float(torch.linalg.eigvalsh((inner + inner.T) / 2)[-1])


@dataclass
class LeadingCurvature:
    """κ_max of JᵀSJ by power iteration from where the last one ended; every value is a lower bound.

    Attributes:
        linearization: knows a way to Jacobian-vector products.
        direction: the last direction in the outputs; None before the first iteration.
        residual: ‖KSw − κw‖ / (κ‖w‖) of the last iteration.
    """

    linearization: Linearization
    direction: Tensor | None = None
    residual: float = float("inf")

    def iterate(
        self,
        now: nn.Module,
        x: Any,
        loss_curvature: Product | None,
        outputs: Tensor,
        iterations: int,
        tolerance: float = 1e-3,
    ) -> float:
        """Some iterations at θ_t: a backward pass and a Jacobian-vector product each.

        Args:
            now: the network at θ_t.
            x: the probe.
            loss_curvature: w ↦ S w; None for the identity.
            outputs: f_t.
            iterations: at most.
            tolerance: of the residual, at which to stop.
        """
        if self.direction is None:
            generator = torch.Generator().manual_seed(0)
            drawn = torch.randn(outputs.shape, generator=generator, dtype=torch.float64).to(outputs)
            # The first direction of a kernel is much the same for all examples.
            self.direction = drawn + drawn.mean(0, keepdim=True) * len(drawn) ** 0.5
        evaluation = evaluation_of(now, x)
        leaves = [p.detach().requires_grad_() for p in evaluation.start]
        with torch.enable_grad():
            traced = evaluation.outputs(*leaves)
        value = 0.0
        for _ in range(iterations):
            w = self.direction / self.direction.norm()
            weighted = loss_curvature(w) if loss_curvature else w
            grads = torch.autograd.grad(traced, leaves, weighted, retain_graph=True, allow_unused=True)
            named = dict(zip(evaluation.names, grads, strict=True))
            step = {
                name: torch.zeros_like(p) if named[name] is None else named[name]
                for name, p in zip(evaluation.names, evaluation.start, strict=True)
            }
            product = self.linearization.at(now, x, step)
            size = float((weighted * w).sum())
            if not size > 0 or not float(product.norm()):
                return 0.0
            # The Rayleigh quotient of S^{1/2} K S^{1/2} in the direction S^{1/2} w.
            value = float((weighted * product).sum()) / size
            self.residual = float((product - value * w).norm()) / max(abs(value), 1e-300)
            self.direction = product
            if self.residual < tolerance:
                break
        return value
