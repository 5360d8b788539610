"""Any scalar nonlinearity, by its Hermite coefficients."""

from collections.abc import Callable

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.activations.base import Activation
from ntkgap.kernels.infinite.activations.expansion import POINTS, Integrand
from ntkgap.kernels.infinite.activations.numerics import inverse_square_root
from ntkgap.kernels.infinite.activations.series import Linearized, Side, graded_series

AIM = {torch.float32: 1e-7, torch.float64: 1e-12}
"""Relative truncation error aimed at."""


class NumericalActivation(Activation):
    r"""Any scalar function φ, by one-dimensional quadrature.

    Mehler's formula, with the orthonormal Hermite polynomials h_k:

    .. math:: E[φ(u)φ(v)] = \sum_k a_k(q_1)\, a_k(q_2)\, ρ^k, \qquad a_k(q) = E[φ(\sqrt q z)\, h_k(z)],

    and the same for φ', whose values come from automatic differentiation. The truncation error is at most
    |ρ|^{K+1} times the product of the tails √(E[φ²] − Σ_{k ≤ K} a_k²), so K adapts to the pairs; what the
    largest K leaves over shows in ``error``. Variances are integrated directly. Gradients can be taken once.

    Args:
        function: φ, an elementwise function of a tensor that torch can differentiate.
        name: how messages call φ.

    Raises:
        KernelError: here or from its methods, if φ is random, changes shapes, or is not finite at the nodes.
    """

    closed_form = False

    def __init__(self, function: Callable[[Tensor], Tensor], name: str) -> None:
        self.name, self.error = name, 0.0
        self._integrand = Integrand(function, name)
        x = torch.linspace(-4, 4, 65, dtype=torch.float64)
        values = self._integrand.values(x, False)
        if not torch.equal(values, self._integrand.values(x, False)):
            raise KernelError(f"{name} is random: it gave two different results for the same input")
        self.odd = bool(torch.equal(values, -values.flip(0)))

    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.covariance``."""
        q1, q2 = q1.to(c.dtype), q2.to(c.dtype)
        product = self._expectation(c, q1, q2, False)
        return product, self._expectation(c, q1, q2, True) if derivative else None

    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.variance``."""
        moments: list[Tensor] = []
        for slope in (False, True)[: 1 + derivative]:
            moment, change, error = self._integrand.second_moment(q.detach().double().flatten(), slope)
            self.error = max(self.error, error)
            moment, change = moment.view(q.shape).to(q.dtype), change.view(q.shape).to(q.dtype)
            moments.append(Linearized.apply(moment, (change,), q) if _tracked(q) else moment)
        return moments[0], moments[1] if derivative else None

    def _expectation(self, c: Tensor, q1: Tensor, q2: Tensor, slope: bool) -> Tensor:
        tracked = _tracked(c, q1, q2)
        inverse1, inverse2 = inverse_square_root(q1.detach()), inverse_square_root(q2.detach())
        rho = (c.detach() * inverse1).mul_(inverse2).clamp_(-1, 1)
        left, right, needed = self._sides(rho, q1.detach(), q2.detach(), slope, tracked)
        parity = (not slope) * 1 if self.odd else None
        value = graded_series(rho, left, right, needed, parity)
        if not tracked:
            return value
        # With c fixed, (Hermite polynomials being eigenfunctions) ∂/∂q₁ turns a_k into √((k+1)(k+2)) a_{k+2}/2q₁.
        orders = torch.arange(len(left.coefficients), device=c.device, dtype=c.dtype)[:, None]
        turned = left.mapped(lambda a: _shifted(a, 1) * _shifted(orders, 1).sqrt())
        other = right.mapped(lambda b: _shifted(b, 1) * _shifted(orders, 1).sqrt())
        flipped = None if parity is None else 1 - parity
        partial_c = graded_series(rho, turned, other, needed, flipped) * inverse1 * inverse2
        twice = [s.mapped(lambda a: _shifted(a * (orders * (orders - 1)).sqrt(), 2)) for s in (left, right)]
        partial_q1 = graded_series(rho, twice[0], right, needed, parity) * inverse1.square() / 2
        partial_q2 = graded_series(rho, left, twice[1], needed, parity) * inverse2.square() / 2
        return Linearized.apply(value, (partial_c, partial_q1, partial_q2), c, q1, q2)

    def _sides(
        self, rho: Tensor, q1: Tensor, q2: Tensor, slope: bool, tracked: bool
    ) -> tuple[Side, Side, Callable[[float], int]]:
        """Coefficients of both sides, enough of them for the largest correlation, and how many each needs."""
        aim = AIM[rho.dtype] * (1e-3 if tracked else 1.0)
        largest = float(rho.abs().max()) if rho.numel() else 0.0
        (values1, shape1), (values2, shape2) = _distinct(q1, rho.ndim), _distinct(q2, rho.ndim)
        for orders in POINTS:
            first = self._integrand.expansion(values1, slope, orders)
            second = self._integrand.expansion(values2, slope, orders)
            tails = (first.tail * second.tail).sqrt()
            powers = torch.arange(1, orders + 1, dtype=torch.float64, device=rho.device)
            if float((tails * largest**powers)[-3]) <= aim:
                break

        def needed(size: float) -> int:
            enough = (tails * size**powers <= aim).nonzero()
            return int(enough[0]) + 1 if len(enough) else orders

        truncation = float((tails * largest**powers)[needed(largest) - 1])
        self.error = max(self.error, truncation + first.error + second.error)
        left, right = (Side(e.coefficients.to(rho.dtype), s) for e, s in ((first, shape1), (second, shape2)))
        return left, right, needed


def _tracked(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _distinct(q: Tensor, ndim: int) -> tuple[Tensor, tuple[int, ...]]:
    """The variances as float64 [n] and the shape in which they broadcast; n = 1 where all are equal."""
    flat = q.double().flatten()
    if len(flat) > 1 and bool((flat == flat[0]).all()):
        return flat[:1], (1,) * ndim
    return flat, (1,) * (ndim - q.ndim) + tuple(q.shape)


def _shifted(rows: Tensor, by: int) -> Tensor:
    """Rows moved up by so many places, zeros after them."""
    return torch.cat([rows[by:], torch.zeros_like(rows[:by])])
