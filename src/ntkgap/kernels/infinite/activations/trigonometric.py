"""Sines of any phase: sin, cos, and the feature map of the Gaussian kernel."""

import math

import torch
from torch import Tensor

from ntkgap.kernels.infinite.activations.base import Activation
from ntkgap.kernels.infinite.activations.numerics import at_least


class Sine(Activation):
    r"""φ(x) = a·sin(bx + p).

    With s± = exp(b²(−(q₁ + q₂)/2 ± c)),

    .. math:: \Sigma &= \tfrac{a^2}2 (s_+ - s_- \cos 2p)
                = \tfrac{a^2}2 (s_+ + s_-)(\sin^2 p + \cos^2 p \tanh b^2c) \\
              \dot\Sigma &= \tfrac{a^2b^2}2 (s_+ + s_- \cos 2p)
                = \tfrac{a^2b^2}2 (s_+ + s_-)(\cos^2 p + \sin^2 p \tanh b^2c)

    (Pearce et al. 2020); the second form keeps small covariances from cancelling.

    Args:
        scale: a.
        frequency: b.
        phase: p, in radians.
        name: how messages call φ.
    """

    def __init__(self, scale: float = 1.0, frequency: float = 1.0, phase: float = 0.0, name: str = "") -> None:
        self.power, self.squared_frequency = float(scale) ** 2, float(frequency) ** 2
        # cos 2p is exact at the phases of cos and −sin, where cos² p would leave a remainder of rounding.
        self.sine, self.cosine = (1 - math.cos(2 * phase)) / 2, (1 + math.cos(2 * phase)) / 2
        self.odd = self.sine == 0
        self.name = name or f"{scale:g}·sin({frequency:g}x + {phase:g})"

    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.covariance``."""
        half1, half2 = (q.to(c.dtype) * (self.squared_frequency / 2) for q in (q1, q2))
        c = c * self.squared_frequency
        envelope = torch.exp(-at_least(half1 + half2 - c, 0.0)) + torch.exp(-at_least(half1 + half2 + c, 0.0))
        return self._expectations(c, envelope, derivative)

    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Activation.variance``."""
        q = q * self.squared_frequency
        return self._expectations(q, 1 + torch.exp(-2 * q), derivative)

    def _expectations(self, c: Tensor, envelope: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        envelope, odd_part = envelope * (self.power / 2), torch.tanh(c)
        product = envelope * (self.sine + self.cosine * odd_part)
        if not derivative:
            return product, None
        return product, envelope * (self.squared_frequency * (self.cosine + self.sine * odd_part))
