"""Square roots and bounds whose values and gradients stay finite where variances vanish."""

import torch
from torch import Tensor


def square_root(q: Tensor) -> Tensor:
    """√q, with gradient 0 where q is 0."""
    positive = q > 0
    return torch.where(positive, torch.where(positive, q, 1).sqrt(), 0)


def inverse_square_root(q: Tensor) -> Tensor:
    """1/√q, and 0 where q is 0."""
    positive = q > 0
    return torch.where(positive, torch.where(positive, q, 1).rsqrt(), 0)


def at_least(x: Tensor, bound: Tensor | float) -> Tensor:
    """max(x, bound) for an x that only rounding takes below its bound: the gradient is that of x."""
    bounded = torch.maximum(x, bound) if isinstance(bound, Tensor) else x.clamp_min(bound)
    if torch.is_grad_enabled() and x.requires_grad:
        return x + (bounded - x).detach()
    return bounded


def determinant(c: Tensor, q1: Tensor, q2: Tensor, scale: float) -> Tensor:
    """det(I + sK) = (1 + s·q₁)(1 + s·q₂) − s²c² of K = [[q₁, c], [c, q₂]], at least its value at |c| = √(q₁q₂)."""
    products = torch.addcmul((1 + scale * q1) * (1 + scale * q2), c, c, value=-(scale**2))
    return at_least(products, 1 + scale * (q1 + q2))
