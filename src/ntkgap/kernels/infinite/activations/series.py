"""Power series in the correlation whose coefficients are products of one factor a side."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NEAR = 0.9
"""Beyond this |ρ| entries are summed apart from the others if they are few, as they need many more terms."""


@dataclass(frozen=True)
class Side:
    """Coefficients [K, n] of one side, and the shape of its n variances, which broadcasts against the pairs."""

    coefficients: Tensor
    shape: tuple[int, ...]

    def term(self, k: int) -> Tensor:
        """Coefficient k in the shape of the variances."""
        return self.coefficients[k].view(self.shape)

    def at(self, where: Tensor) -> "Side":
        """The coefficients of the pairs picked by a mask of all pairs, one column a pair."""
        count = self.coefficients.shape[1]
        index = torch.arange(count, device=where.device).view(self.shape).expand(where.shape)[where]
        return Side(self.coefficients[:, index], (len(index),))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Side":
        """The same with changed coefficients."""
        return Side(change(self.coefficients), self.shape)


def power_series(rho: Tensor, left: Side, right: Side, terms: int, parity: int | None = None) -> Tensor:
    """Σ_{k < terms} left_k right_k ρ^k by Horner's rule; with ``parity`` only over k even (0) or odd (1)."""
    orders = range(terms)[parity or 0 :: 1 if parity is None else 2]
    total = torch.zeros_like(rho)
    power = rho if parity is None else rho.square()
    for k in reversed(orders):
        total.mul_(power).addcmul_(left.term(k), right.term(k))
    return total.mul_(rho) if parity == 1 else total


def graded_series(
    rho: Tensor, left: Side, right: Side, needed: Callable[[float], int], parity: int | None
) -> Tensor:
    """``power_series`` with as many terms as every pair needs.

    Args:
        rho: correlations of the pairs.
        left: coefficients of the first side.
        right: coefficients of the second side.
        needed: terms for correlations up to a given size.
        parity: see ``power_series``.
    """
    size = rho.abs()
    largest = float(size.max()) if size.numel() else 0.0
    all_terms, few_terms = needed(largest), needed(min(largest, NEAR))
    if all_terms > 1.5 * few_terms:
        near = size > NEAR
        share = float(near.float().mean())
        if share < 0.25:
            total = power_series(rho, left, right, few_terms, parity)
            total[near] = power_series(rho[near], left.at(near), right.at(near), all_terms, parity)
            return total
    return power_series(rho, left, right, all_terms, parity)


class Linearized(torch.autograd.Function):
    """A value with given partial derivatives in given inputs; it can be differentiated once."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, partials: tuple[Tensor, ...], *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*partials)
        ctx.shapes = [x.shape for x in inputs]
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        parts = zip(ctx.saved_tensors, ctx.shapes, strict=True)
        return None, None, *((gradient * partial).sum_to_size(shape) for partial, shape in parts)
