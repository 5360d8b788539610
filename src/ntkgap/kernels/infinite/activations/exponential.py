"""Exponentials: exp(ax) and the Gaussian bump exp(−ax²)."""

import math

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.activations.base import Activation
from ntkgap.kernels.infinite.activations.numerics import at_least, determinant


class Exponential(Activation):
    r"""φ(x) = exp(ax): Σ = exp(a²(q₁ + q₂ + 2c)/2) and Σ̇ = a²Σ, the moments of the log-normal distribution.

    Args:
        rate: a.

    Raises:
        KernelError: from its methods, if a variance is so large that E[φ²] overflows.
    """

    odd = False

    def __init__(self, rate: float = 1.0) -> None:
        self.rate = float(rate)
        self.name = "exp" if rate == 1 else f"exp({rate:g}x)"

    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.covariance``."""
        self._check(q1, c.dtype)
        self._check(q2, c.dtype)
        half = self.rate**2 / 2
        product = torch.exp(torch.add(half * q1 + half * q2, c, alpha=2 * half)).to(c.dtype)
        return product, product * self.rate**2 if derivative else None

    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.variance``."""
        return self.covariance(q, q, q, derivative)

    def _check(self, q: Tensor, dtype: torch.dtype) -> None:
        limit = 0.49 * math.log(torch.finfo(dtype).max) / max(self.rate**2, 1e-30)
        largest = float(q.detach().max()) if q.numel() else 0.0
        if largest > limit:
            raise KernelError(
                f"{self.name} of a Gaussian of variance {largest:.3g} has a second moment beyond {dtype}; "
                f"scale the inputs or the weights so that variances stay under {limit:.3g}"
            )


class GaussianBump(Activation):
    r"""φ(x) = exp(−ax²).

    With t = (1 + 2aq₁)(1 + 2aq₂) − 4a²c²,

    .. math:: \Sigma = t^{-1/2}, \qquad \dot\Sigma = 4a^2 c\, t^{-3/2} .

    Args:
        rate: a ≥ 0.
    """

    odd = False

    def __init__(self, rate: float = 1.0) -> None:
        self.rate = float(rate)
        self.name = "exp(-x²)" if rate == 1 else f"exp(-{rate:g}x²)"

    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.covariance``."""
        t = determinant(c, q1.to(c.dtype), q2.to(c.dtype), 2 * self.rate)
        return self._expectations(c, t, derivative)

    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.variance``."""
        return self._expectations(q, at_least(1 + 4 * self.rate * q, 1.0), derivative)

    def _expectations(self, c: Tensor, t: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        product = t.rsqrt()
        return product, product / t * c * (4 * self.rate**2) if derivative else None
