"""Polynomials, the identity and powers among them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.activations.base import Activation


class Identity(Activation):
    """φ(x) = x: Σ = c and Σ̇ = 1."""

    name, odd = "identity", True

    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.covariance``."""
        return self.variance(c, derivative)

    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.variance``."""
        return q.clone(), torch.ones_like(q) if derivative else None


class Polynomial(Activation):
    r"""φ(x) = Σ_j p_j x^j.

    On N(0, q) the Hermite coefficient of order k is q^{k/2} α_k(q) with

    .. math:: α_k(q) = \sum_{i ≥ 0} p_{k + 2i} \frac{(k + 2i)!}{i!\, 2^i \sqrt{k!}}\, q^i,

    so Σ = Σ_k α_k(q₁) α_k(q₂) c^k (Mehler's formula: Wick's theorem summed up), a polynomial in c, q₁ and q₂.

    Args:
        coefficients: p_0, p_1, …, at least one.
        name: how messages call φ.

    Raises:
        KernelError: from its methods, if E[φ²] overflows.
    """

    def __init__(self, coefficients: Sequence[float], name: str = "") -> None:
        self.coefficients = tuple(float(p) for p in coefficients)
        self.odd = not any(self.coefficients[::2])
        self.name = name or f"polynomial{self.coefficients}"
        self._slope = tuple(j * p for j, p in enumerate(self.coefficients))[1:] or (0.0,)

    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.covariance``."""
        q1, q2 = q1.to(c.dtype), q2.to(c.dtype)
        product = self._expectation(self.coefficients, c, q1, q2)
        return product, self._expectation(self._slope, c, q1, q2) if derivative else None

    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.variance``."""
        return self.covariance(q, q, q, derivative)

    def _expectation(self, coefficients: tuple[float, ...], c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        for q in (q1, q2):
            self._check(coefficients, q)
        alpha1, alpha2 = _hermite_coefficients(coefficients, q1), _hermite_coefficients(coefficients, q2)
        total = torch.zeros_like(c)
        for first, second in zip(reversed(alpha1), reversed(alpha2), strict=True):
            total = total * c
            if first is not None and second is not None:
                total = torch.addcmul(total, first, second)
        return total

    def _check(self, coefficients: tuple[float, ...], q: Tensor) -> None:
        largest = float(q.detach().max()) if q.numel() else 0.0
        degree = max((j for j, p in enumerate(coefficients) if p), default=0)
        logs = math.lgamma(2 * degree + 1) + degree * math.log(max(largest, 1.0))
        logs += 2 * math.log(max(1.0, *(abs(p) for p in coefficients), 1.0))
        if logs > math.log(torch.finfo(q.dtype).max) - 1:
            raise KernelError(
                f"{self.name} of a Gaussian of variance {largest:.3g} has a second moment beyond {q.dtype}; "
                "scale the inputs or the weights down, or compute in float64"
            )


def _hermite_coefficients(coefficients: tuple[float, ...], q: Tensor) -> list[Tensor | None]:
    """α_k(q) of every order k, ``None`` where it is zero for every q."""
    alphas: list[Tensor | None] = []
    for k in range(len(coefficients)):
        alpha: Tensor | None = None
        for j in range(len(coefficients) - 1 - (len(coefficients) - 1 - k) % 2, k - 1, -2):
            pairs = (j - k) // 2
            weight = math.factorial(j) / (math.factorial(pairs) * 2**pairs * math.sqrt(math.factorial(k)))
            term = coefficients[j] * weight
            if alpha is not None:
                alpha = alpha * q + term
            elif term:
                alpha = torch.full_like(q, term)
        alphas.append(alpha)
    return alphas
