"""Any scalar nonlinearity, by its Hermite coefficients."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.activations.base import Activation
from ntkgap.kernels.infinite.activations.expansion import POINTS, Expansion, Integrand
from ntkgap.kernels.infinite.activations.numerics import inverse_square_root
from ntkgap.kernels.infinite.activations.two_sides import NEAR, PairExpansion

AIM = {torch.float32: 1e-7, torch.float64: 1e-12}
"""Relative truncation error aimed at."""

ROUNDED_AIM = 1e-8
"""The same for slopes that end in float32 results."""

REMEMBERED = 1 << 26
"""Bytes of expansions kept, as the tiles of a kernel come with the same variances again and again."""


class NumericalActivation(Activation):
    r"""Any scalar function φ, by one-dimensional quadrature.

    Mehler's formula, with the orthonormal Hermite polynomials h_k:

    .. math:: E[φ(u)φ(v)] = \sum_k a_k(q_1)\, a_k(q_2)\, ρ^k, \qquad a_k(q) = E[φ(\sqrt q z)\, h_k(z)],

    and the same for φ', whose values come from automatic differentiation. The truncation error is at most
    |ρ|^{K+1} times the product of the tails √(E[φ²] − Σ_{k ≤ K} a_k²), so K adapts to the pairs. Kinks make
    coefficients decay slowly; near |ρ| = 1 their part is integrated instead (``splines``). What is left shows
    in ``error``. Variances are integrated directly. Gradients can be taken once.

    Args:
        function: φ, an elementwise function of a tensor that torch can differentiate.
        name: how messages call φ.

    Raises:
        KernelError: here or from its methods, if φ is random, changes shapes, or is not finite at the nodes.
    """

    closed_form = False

    def __init__(self, function: Callable[[Tensor], Tensor], name: str) -> None:
        self.name, self.error, self.remembered = name, 0.0, REMEMBERED
        self._integrand = Integrand(function, name)
        self._expansions: OrderedDict[tuple, Expansion] = OrderedDict()
        self._lock = Lock()  # tiles are evaluated in threads, which share what is remembered and the error
        x = torch.linspace(-4, 4, 65, dtype=torch.float64)
        values = self._integrand.values(x, False)
        if not torch.equal(values, self._integrand.values(x, False)):
            raise KernelError(f"{name} is random: it gave two different results for the same input")
        self.odd = bool(torch.equal(values, -values.flip(0)))

    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.covariance``."""
        q1, q2 = q1.to(c.dtype), q2.to(c.dtype)
        product = self._expectation(c, q1, q2, False, AIM[c.dtype])
        return product, self._expectation(c, q1, q2, True, AIM[c.dtype]) if derivative else None

    def rounded_covariance(
        self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool
    ) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.rounded_covariance``."""
        product = self._expectation(c, q1, q2, False, AIM[c.dtype])
        return product, self._expectation(c, q1, q2, True, ROUNDED_AIM) if derivative else None

    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.variance``."""
        moments: list[Tensor] = []
        for slope in (False, True)[: 1 + derivative]:
            moment, change, error = self._integrand.second_moment(q.detach().double().flatten(), slope)
            self._note(error)
            moment, change = moment.view(q.shape).to(q.dtype), change.view(q.shape).to(q.dtype)
            moments.append(_Linearized.apply(moment, q, change) if _tracked(q) else moment)
        return moments[0], moments[1] if derivative else None

    def _expectation(self, c: Tensor, q1: Tensor, q2: Tensor, slope: bool, aim: float) -> Tensor:
        tracked = _tracked(c, q1, q2)
        inverse1, inverse2 = inverse_square_root(q1.detach()), inverse_square_root(q2.detach())
        rho = (c.detach() * inverse1).mul_(inverse2).clamp_(-1, 1)
        pairs = self._pairs(rho, q1.detach(), q2.detach(), slope, tracked, aim)
        value = pairs.expectation(rho)
        if not tracked:
            return value
        # ∂/∂c takes a_k to √(k+1) a_{k+1} on both sides; with c fixed, ∂/∂q₁ takes it to √((k+1)(k+2)) a_{k+2}
        # on one: Hermite polynomials times the normal density solve the heat equation.
        k = torch.arange(1, pairs.orders + 1, dtype=torch.float64, device=c.device)[:, None]
        once, twice = k.sqrt(), (k * (k + 1)).sqrt()
        opposite = None if pairs.parity is None else 1 - pairs.parity
        first, second = pairs.first, pairs.second
        by_c = replace(pairs, first=_shifted(first, once, 1), second=_shifted(second, once, 1), parity=opposite)
        by_q1 = replace(pairs, first=_shifted(first, twice, 2), second=_shifted(second, None, 0))
        by_q2 = replace(pairs, first=_shifted(first, None, 0), second=_shifted(second, twice, 2))
        return _Linearized.apply(
            value,
            c,
            by_c.expectation(rho) * inverse1 * inverse2,
            q1,
            by_q1.expectation(rho) * inverse1.square() / 2,
            q2,
            by_q2.expectation(rho) * inverse2.square() / 2,
        )

    def _pairs(self, rho: Tensor, q1: Tensor, q2: Tensor, slope: bool, tracked: bool, aim: float) -> PairExpansion:
        """Coefficients of both sides, enough of them for the largest correlation if any number is."""
        aim = aim * (1e-3 if tracked else 1.0)  # the gradient's terms are larger by k
        largest = float(rho.abs().max()) if rho.numel() else 0.0
        (values1, shape1), (values2, shape2) = _distinct(q1, rho.ndim), _distinct(q2, rho.ndim)
        parity = int(not slope) if self.odd else None
        for orders in POINTS:
            first, second = (self._expansion(values, slope, orders) for values in (values1, values2))
            pairs = PairExpansion(first, second, (shape1, shape2), parity, aim)
            margin = -3 if tracked else -1
            bulk, whole = (float(pairs.bounds(size)[margin]) for size in (min(largest, NEAR), largest))
            if bulk <= aim and min(whole, float("inf") if tracked else pairs.corner_bound(largest)) <= aim:
                break
        if rho.numel():
            self._note(pairs.error(largest) + pairs.corner_error(rho))
        return pairs

    def _note(self, error: float) -> None:
        with self._lock:
            self.error = max(self.error, error)

    def _expansion(self, q: Tensor, slope: bool, orders: int) -> Expansion:
        key = (slope, orders, q.device, q.cpu().numpy().tobytes())
        with self._lock:
            found = self._expansions.get(key)
        if found is None:
            found = self._integrand.expansion(q, slope, orders)
        with self._lock:
            self._expansions[key] = found
            self._expansions.move_to_end(key)
            size = sum(expansion.nbytes for expansion in self._expansions.values())
            while size > self.remembered:
                size -= self._expansions.popitem(last=False)[1].nbytes
        return found


class _Linearized(torch.autograd.Function):
    """A value whose partial derivatives in some inputs are given: (value, input, partial, input, partial, …)."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *inputs_and_partials: Tensor) -> Tensor:
        """Hand on the value."""
        ctx.save_for_backward(*inputs_and_partials[1::2])
        ctx.shapes = [x.shape for x in inputs_and_partials[::2]]
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Multiply by the partial derivatives."""
        gradients: list[Tensor | None] = [None]
        for partial, shape in zip(ctx.saved_tensors, ctx.shapes, strict=True):
            gradients += [(gradient * partial).sum_to_size(shape), None]
        return tuple(gradients)


def _tracked(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _distinct(q: Tensor, ndim: int) -> tuple[Tensor, tuple[int, ...]]:
    """The variances as float64 [n] and the shape in which they broadcast; n = 1 where all are equal."""
    flat = q.double().flatten()
    if len(flat) > 1 and bool((flat == flat[0]).all()):
        return flat[:1], (1,) * ndim
    return flat, (1,) * (ndim - q.ndim) + tuple(q.shape)


def _shifted(expansion: Expansion, factors: Tensor | None, by: int) -> Expansion:
    """The expansion with coefficient k + by times factor k in place of coefficient k, and no spline."""
    rows = expansion.coefficients
    rows = torch.cat([rows[by:], torch.zeros_like(rows[:by])])
    return replace(expansion, coefficients=rows if factors is None else rows * factors, ends=None)
