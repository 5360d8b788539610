r"""The part of a function that its kinks make: truncated powers, whose expectations are one-dimensional integrals.

With T_m(x) = max(x, 0)^m/m!, T_0 the step and T_{−1} the delta function, a function of a standard normal
variable whose derivatives jump at the points h_j is a smoother one plus

.. math:: R(x) = \sum_j \sum_{i ≥ 1} f_{ij}\, T_{s + i - 1}(x - h_j),

s = 1 for a function with kinks and s = 0 for one with steps. The Hermite coefficients of R decay slowly, but by
Price's theorem derivatives of E[R(x)R(y)] in ρ lower the powers until a delta function is left, and given x the
other power has a closed expectation: one integral along ρ remains (for steps, Drezner & Wesolowsky 1990).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ntkgap.kernels.infinite.activations.kinks import Kink
from ntkgap.kernels.infinite.activations.nodes import REACH, hermite


@dataclass(frozen=True)
class Spline:
    """R on one side of the pairs, for its n variances.

    Attributes:
        places: h_j, [m, n].
        factors: f_ij, [i, m, n].
        lowest: s.
    """

    places: Tensor
    factors: Tensor
    lowest: int

    @staticmethod
    def of(kinks: tuple[Kink, ...], q: Tensor, slope: bool, orders: int) -> "Spline":
        """The spline of φ(√q x), or of φ'(√q x) with ``slope``, with the jumps of ``orders`` derivatives."""
        highest = max(i + 1 for k in kinks for i, jump in enumerate(k.jumps[:orders]) if jump or i == 0)
        jumps = torch.tensor([k.jumps[:highest] for k in kinks], dtype=q.dtype, device=q.device).T[..., None]
        position = torch.tensor([[k.position] for k in kinks], dtype=q.dtype, device=q.device)
        powers = torch.arange(highest, device=q.device)[:, None, None] + (0 if slope else 1)
        places = position / q.sqrt().clamp_min(1e-150)
        reached = (places.abs() < REACH) & (q > 0)  # the number 0 has no kink around it
        factors = torch.where(reached, jumps * q.sqrt() ** powers, 0)
        return Spline(torch.where(reached, places, 0), factors, 0 if slope else 1)

    @staticmethod
    def joined(parts: "list[Spline]") -> "Spline":
        """Of the variances of all parts, one behind the other."""
        highest = max(len(part.factors) for part in parts)
        factors = [F.pad(part.factors, (0, 0, 0, 0, 0, highest - len(part.factors))) for part in parts]
        return Spline(torch.cat([part.places for part in parts], 1), torch.cat(factors, 2), parts[0].lowest)

    def values(self, z: Tensor) -> Tensor:
        """R at standard normal values z [N]: [n, N]."""
        total = torch.zeros(self.places.shape[1], len(z), dtype=z.dtype, device=z.device)
        for j, h in enumerate(self.places):
            distance = z - h[:, None]
            above = distance.clamp_min(0)
            power = above if self.lowest else (distance > 0).to(z.dtype)
            for i, factor in enumerate(self.factors[:, j]):
                total += factor[:, None] * power
                power = power * above / (self.lowest + i + 1)
        return total

    def coefficients(self, orders: int) -> Tensor:
        """Hermite coefficients of R: [orders, n]. That of T_m at k is that of T_{m−1} at k − 1, over √k."""
        means = _means(self.places, self.lowest + len(self.factors))
        roots = torch.arange(1, orders, dtype=self.places.dtype, device=self.places.device).sqrt()[:, None, None]
        power = means[0] * hermite(self.places, orders)  # of the delta function
        total = torch.zeros(orders, self.places.shape[1], dtype=self.places.dtype, device=self.places.device)
        for m in range(self.lowest + len(self.factors)):
            power = torch.cat([means[m + 1][None], power[:-1] / roots])
            if m >= self.lowest:
                total += (self.factors[m - self.lowest] * power).sum(1)
        return total


def _means(h: Tensor, highest: int) -> list[Tensor]:
    """E[T_m(x − h)] of a standard normal x for m = −1 … highest − 1."""
    means = [torch.exp(-h.square() / 2) / math.sqrt(2 * math.pi), torch.special.ndtr(-h)]
    for m in range(1, highest):
        means.append((means[-2] - h * means[-1]) / m)
    return means


@dataclass(frozen=True)
class Corner:
    """One kink of one side in the shape of the pairs: its place h and its factors f_i, ``None`` where zero."""

    place: Tensor
    factors: list[Tensor | None]


@lru_cache(maxsize=8)
def _rule(points: int) -> list[tuple[float, float]]:
    """Gauss–Legendre on [0, 1], crowded toward 1, where the integrands may change fast if ρ is near ±1."""
    x, w = np.polynomial.legendre.leggauss(points)
    x, w = (x + 1) / 2, w / 2
    return [(float(1 - (1 - s) ** 2), float(2 * (1 - s) * v)) for s, v in zip(x, w, strict=True)]


def corner_integral(rho: Tensor, one: Corner, two: Corner, lowest: int, points: int) -> Tensor:
    r"""What the Hermite orders above ``lowest`` of two kinks contribute to E[R₁(x)R₂(y)].

    The term of f_i and f_j, i ≤ j, is

    .. math:: \int_0^ρ \frac{(ρ - t)^{s + i - 1}}{(s + i - 1)!} E_t[T_{-1}(x - h)\, T_{j - i - 1}(y - k)]\, dt
        + \sum_{m < i - 1} \frac{ρ^{s + 1 + m}}{(s + 1 + m)!} E[T_{i - 2 - m}(x - h)]\, E[T_{j - 2 - m}(y - k)],

    integrated over ψ = arcsin t with so many ``points``.
    """
    h, k = one.place, two.place
    count = max(len(one.factors), len(two.factors))
    factors1, factors2 = (side.factors + [None] * (count - len(side.factors)) for side in (one, two))
    means1, means2 = _means(h, count), _means(k, count)
    products = {
        (i, j): f * g
        for i, f in enumerate(factors1)
        for j, g in enumerate(factors2)
        if f is not None and g is not None
    }
    angle = torch.asin(rho)
    total = torch.zeros_like(rho)
    for x, w in _rule(points):
        t, cosine = torch.sin(angle * x), torch.cos(angle * x)
        left = rho - t
        ahead, behind = _given(h, k, t, cosine, count), _given(k, h, t, cosine, count)
        weights = [cosine * w * left if lowest else cosine * w]
        for i in range(1, count):
            weights.append(weights[-1] * left / (lowest + i))
        for (i, j), product in products.items():
            if i <= j:
                total += product * weights[i] * means1[0] * ahead[j - i]
            else:
                total += product * weights[j] * means2[0] * behind[i - j]
    total *= angle
    for (i, j), product in products.items():
        for m in range(min(i, j)):
            power = rho ** (lowest + 1 + m) / math.factorial(lowest + 1 + m)
            total += product * power * means1[i - m] * means2[j - m]
    return total


def _given(h: Tensor, k: Tensor, t: Tensor, cosine: Tensor, count: int) -> list[Tensor]:
    """E[T_{d−1}(y − k) | x = h] at correlation t = sin ψ for d = 0 … count − 1."""
    shift = t * h - k
    powers = [torch.exp(-(shift / cosine).square() / 2) / (math.sqrt(2 * math.pi) * cosine)]
    if count > 1:
        powers.append(torch.special.ndtr(shift / cosine))
    for m in range(1, count - 1):
        powers.append((shift * powers[-1] + cosine.square() * powers[-2]) / m)
    return powers
