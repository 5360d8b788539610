"""Power series in the correlation whose coefficients are products of one factor a side."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Side:
    """Numbers of each of n variances of one side, K for each, and where each pair finds its own.

    Attributes:
        rows: [K, n].
        shape: of the n variances; it broadcasts against the pairs.
        index: the variance of every pair, if the pairs are a selection.
    """

    rows: Tensor
    shape: tuple[int, ...]
    index: Tensor | None = None

    def term(self, k: int) -> Tensor:
        """Row k, as it broadcasts against the pairs."""
        return self.rows[k].view(self.shape) if self.index is None else self.rows[k][self.index]

    def at(self, where: Tensor) -> "Side":
        """The side of the pairs picked by a mask of all pairs."""
        index = torch.arange(self.rows.shape[1], device=where.device).view(self.shape)
        return replace(self, index=index.expand(where.shape)[where])

    def holding(self, rows: Tensor) -> "Side":
        """The same side with other numbers."""
        return replace(self, rows=rows)


def power_series(rho: Tensor, left: Side, right: Side, orders: range) -> Tensor:
    """Σ_k left_k right_k ρ^k over ``orders``, by Horner's rule."""
    total = torch.zeros_like(rho)
    if not len(orders):
        return total
    power = rho if orders.step == 1 else rho.pow(orders.step)
    for k in reversed(orders):
        total.mul_(power).addcmul_(left.term(k), right.term(k))
    return total.mul_(rho.pow(orders.start)) if orders.start else total
