"""Natural gradient descent of the shallow network by its pre-activations alone, without parameters."""

import math

import torch
from torch import Tensor


def natural_gradient_path(
    z: Tensor, signs: Tensor, gram: Tensor, y: Tensor, learning_rate: float, steps: int
) -> tuple[list[float], list[float]]:
    """Losses, and C' = 3‖J − J₀‖/√λ_min(K₀), at every step of a ReLU network whose hidden layer is trained.

    Args:
        z: pre-activations WXᵀ at the start, [m, n].
        signs: of the readout, [m, 1].
        gram: XXᵀ, [n, n].
        y: targets, [n, 1].
        learning_rate: η.
        steps: number of steps.
    """
    m = len(z)
    first = (z > 0).to(z.dtype)
    smallest = torch.linalg.eigvalsh(gram * (first.T @ first) / m)[0].item()
    losses, drift = [], []
    for _ in range(steps + 1):
        active = (z > 0).to(z.dtype)
        residual = (z.clamp(min=0).T @ signs) / math.sqrt(m) - y
        change = torch.linalg.eigvalsh(gram * ((active - first).T @ (active - first)) / m)[-1].item()
        losses.append(0.5 * residual.square().sum().item())
        drift.append(3 * math.sqrt(max(0.0, change) / smallest))
        duals = torch.linalg.solve(gram * (active.T @ active) / m, residual)
        z = z - learning_rate / math.sqrt(m) * signs * (active * duals.T) @ gram
    return losses, drift
