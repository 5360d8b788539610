"""The expansion of two sides put together: how many terms a correlation needs, and their sum."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.kernels.infinite.activations.expansion import Expansion
from ntkgap.kernels.infinite.activations.series import Side, power_series
from ntkgap.kernels.infinite.activations.splines import Corner, Spline, corner_integral

NEAR = 0.95
"""Beyond this |ρ| pairs are summed apart from the others, as they need many more terms."""

SHARE = 0.25
"""Unless they are more than this share of all, and only terms are added."""

POINTS, POINTS_AT_ZERO = 48, 16
"""Nodes for the kinks' integrals: with kinks at 0 alone the integrands are trigonometric polynomials."""

SAMPLE = 200
"""Pairs that these integrals are checked at."""


@dataclass(frozen=True)
class PairExpansion:
    """Hermite expansions of a function of u and of v.

    Attributes:
        first: expansion on the variances of u.
        second: expansion on those of v.
        shapes: shapes of these variances, which broadcast against the pairs.
        parity: 0 or 1 if the function is even or odd, so that every other coefficient is zero.
        aim: relative truncation error aimed at.
    """

    first: Expansion
    second: Expansion
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    parity: int | None
    aim: float

    @property
    def orders(self) -> int:
        """How many coefficients there are."""
        return len(self.first.coefficients)

    def bounds(self, size: float) -> Tensor:
        """Relative truncation error at |ρ| ≤ size after each coefficient: |ρ|^{k+1} times both tails, [K]."""
        powers = torch.arange(1, self.orders + 1, dtype=torch.float64, device=self.first.tail.device)
        return self.first.tail * self.second.tail * size**powers

    def corner_bound(self, size: float) -> float:
        """The same after all of them if the kinks' part R is integrated: what is left are products with f − R."""
        if self.first.ends is None or self.second.ends is None:
            return float("inf")
        (smooth1, spline1), (smooth2, spline2) = self.first.ends.T, self.second.ends.T
        left = (smooth1 * smooth2 + smooth1 * spline2 + spline1 * smooth2).sum()
        return float(left) * size ** (self.orders + 1) + self.first.rounding + self.second.rounding

    def terms(self, size: float) -> int:
        """How many coefficients reach the aim at |ρ| ≤ size; all of them if none do."""
        enough = (self.bounds(size) <= self.aim).nonzero()
        return int(enough[0]) + 1 if len(enough) else self.orders

    def integrates_corners(self, size: float) -> bool:
        """Whether the kinks' part is integrated beyond ``NEAR``: no number of terms would do."""
        bound = float(self.bounds(size)[-1])
        return size > NEAR and bound > self.aim and self.corner_bound(size) < bound

    def error(self, size: float) -> float:
        """Estimated relative error for correlations up to this size, quadrature included."""
        if self.integrates_corners(size):
            truncation = max(self.corner_bound(size), float(self.bounds(NEAR)[self.terms(NEAR) - 1]))
        else:
            truncation = float(self.bounds(size)[self.terms(size) - 1])
        return truncation + self.first.error + self.second.error

    def expectation(self, rho: Tensor) -> Tensor:
        """E[f(u)f(v)] at correlations ρ."""
        left, right = (
            Side(e.coefficients.to(rho.dtype), shape)
            for e, shape in zip((self.first, self.second), self.shapes, strict=True)
        )
        size = rho.abs()
        largest = float(size.max()) if size.numel() else 0.0
        few, every = self.terms(min(largest, NEAR)), self.terms(largest)
        corners = self.integrates_corners(largest)
        near = size > NEAR if corners or every > 1.5 * few else None
        if near is None or not (corners or float(near.double().mean()) < SHARE):
            return power_series(rho, left, right, self._range(every))
        total = power_series(rho, left, right, self._range(few))
        near_rho, near_left, near_right = rho[near], left.at(near), right.at(near)
        if corners:
            total[near] = self._with_corners(near_rho, near_left, near_right)
        else:
            total[near] = power_series(near_rho, near_left, near_right, self._range(every))
        return total

    def _range(self, terms: int) -> range:
        return range(terms)[self.parity or 0 :: 1 if self.parity is None else 2]

    def _with_corners(self, rho: Tensor, left: Side, right: Side) -> Tensor:
        """Σ_k a_k b_k ρ^k with the kinks' share of the orders k > order replaced by its integral."""
        one, two = self.first.spline, self.second.spline
        own1, own2 = self.first.spline_coefficients, self.second.spline_coefficients
        if one is None or two is None or own1 is None or own2 is None:
            raise ValueError("there are no kinks to integrate")
        # In float64 whatever the pairs are in: the parts are larger than the whole.
        exact = rho.double()
        total = power_series(
            exact,
            left.holding(self.first.coefficients),
            right.holding(self.second.coefficients),
            self._range(self.orders),
        )
        rest = range(one.lowest + 1, self.orders)
        total -= power_series(exact, left.holding(own1), right.holding(own2), rest)
        points = POINTS if bool(one.places.any()) or bool(two.places.any()) else POINTS_AT_ZERO
        total += _corners(exact, one, two, left, right, points)
        return total.to(rho.dtype)

    def corner_error(self, rho: Tensor) -> float:
        """Relative error of the integrals over the kinks, from rules of two sizes at the pairs nearest to ±1."""
        one, two = self.first.spline, self.second.spline
        size = rho.abs()
        if one is None or two is None or not self.integrates_corners(float(size.max())):
            return 0.0
        if not (bool(one.places.any()) or bool(two.places.any())):
            return 0.0  # polynomials in sin ψ and cos ψ are integrated exactly
        chosen = torch.zeros(rho.numel(), dtype=torch.bool, device=rho.device)
        chosen[size.flatten().topk(min(SAMPLE, rho.numel())).indices] = True
        chosen = chosen.view(rho.shape)
        left, right = (
            Side(e.coefficients, shape).at(chosen)
            for e, shape in zip((self.first, self.second), self.shapes, strict=True)
        )
        exact = rho[chosen].double()
        finer, coarser = (_corners(exact, one, two, left, right, p) for p in (POINTS + 13, POINTS))
        norm1, norm2 = left.holding(self.first.norm[None]).term(0), right.holding(self.second.norm[None]).term(0)
        return float(((finer - coarser).abs() / (norm1 * norm2)).max())


def _corners(rho: Tensor, one: Spline, two: Spline, left: Side, right: Side, points: int) -> Tensor:
    """The integrals over every kink of one side and every kink of the other, added up."""
    total = torch.zeros_like(rho)
    for i in range(len(one.places)):
        for j in range(len(two.places)):
            total += corner_integral(rho, _corner(one, i, left), _corner(two, j, right), one.lowest, points)
    return total


def _corner(spline: Spline, j: int, side: Side) -> Corner:
    rows = side.holding(spline.factors[:, j])
    factors = [rows.term(i) if bool(row.any()) else None for i, row in enumerate(rows.rows)]
    return Corner(side.holding(spline.places).term(j), factors)
