"""Nonlinearities made of the normal distribution function: erf and the exact GELU."""

import math

import torch
from torch import Tensor

from ntkgap.kernels.infinite.activations.base import Activation
from ntkgap.kernels.infinite.activations.numerics import determinant


class ErrorFunction(Activation):
    r"""φ(x) = erf(βx).

    With s² = (1 + 2β²q₁)(1 + 2β²q₂) − 4β⁴c²,

    .. math:: \Sigma = \tfrac2π \arctan(2β^2 c / s), \qquad \dot\Sigma = \frac{4β^2}{π s}

    (Williams 1997).

    Args:
        frequency: β.
    """

    odd = True

    def __init__(self, frequency: float = 1.0) -> None:
        self.squared_frequency = float(frequency) ** 2
        self.name = "erf" if frequency == 1 else f"erf({frequency:g}x)"

    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.covariance``."""
        scale = 2 * self.squared_frequency
        root = determinant(c, q1.to(c.dtype), q2.to(c.dtype), scale).sqrt()
        return self._expectations(c, root, derivative)

    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.variance``."""
        return self._expectations(q, (1 + 4 * self.squared_frequency * q).sqrt(), derivative)

    def _expectations(self, c: Tensor, root: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        product = torch.atan2(2 * self.squared_frequency * c, root) * (2 / math.pi)
        return product, (4 * self.squared_frequency / math.pi) / root if derivative else None


class GaussianErrorLinearUnit(Activation):
    r"""φ(x) = x·P(N(0, 1) ≤ x), ``nn.GELU(approximate="none")``.

    With δ² = (1 + q₁)(1 + q₂) − c² and α = arctan(c/δ),

    .. math:: \Sigma &= \frac{1}{2π}\left[\frac{c^2}{(1 + q_1)(1 + q_2)δ}
                + \frac{q_1}{1 + q_1}\frac{q_2}{1 + q_2}\,δ + cα\right] + \frac c4 \\
              \dot\Sigma &= \frac14 + \frac{α}{2π}
                + \frac{c}{2πδ}\left[\frac1{δ^2} + \frac1{1 + q_1} + \frac1{1 + q_2}\right]

    (Tsuchida et al. 2021, with the fractions split so that large variances do not overflow).
    """

    name, odd = "gelu", False

    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.covariance``."""
        q1, q2 = q1.to(c.dtype), q2.to(c.dtype)
        return self._expectations(c, determinant(c, q1, q2, 1.0).sqrt(), q1, q2, derivative)

    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.variance``."""
        return self._expectations(q, (1 + 2 * q).sqrt(), q, q, derivative)

    def _expectations(
        self, c: Tensor, delta: Tensor, q1: Tensor, q2: Tensor, derivative: bool
    ) -> tuple[Tensor, Tensor | None]:
        inverse1, inverse2 = 1 / (1 + q1), 1 / (1 + q2)
        angle = torch.atan2(c, delta) * (1 / (2 * math.pi)) + 0.25
        scaled = c / delta * (1 / (2 * math.pi))
        product = c * angle + scaled * c * inverse1 * inverse2
        product = product + delta * (q1 * inverse1 / (2 * math.pi)) * (q2 * inverse2)
        if not derivative:
            return product, None
        return product, angle + scaled * (delta.square().reciprocal() + inverse1 + inverse2)
