"""Nodes, weights and Hermite polynomials for integrals against the normal density."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

REACH = 12.5
"""Beyond this many standard deviations even a Hermite function times exp(−z²/4) is below 1e-16."""

FARTHER = 18.0
"""How far rules go that check others: functions that grow like exponentials show there."""


def _panels(grading: int, reach: float) -> list[float]:
    return [0.0, *(2.0**-j for j in range(grading, 0, -1)), *np.arange(1.0, reach), reach]


@lru_cache(maxsize=64)
def normal_rule(grading: int, points: int, reach: float = REACH) -> tuple[Tensor, Tensor]:
    """Composite Gauss–Legendre nodes z and weights for ∫ f(z) exp(−z²/2)/√(2π) dz, symmetric about 0.

    The panels end at 0, where most nonlinearities have their kink if they have one, double in length from
    2^−grading up to 1, and keep that length to the end.

    Args:
        grading: how often the panels halve toward 0; the nonlinearity of a variable of variance q
            changes over a distance 1/√q of z.
        points: nodes of a panel.
        reach: where the last panels end.

    Returns:
        z and weights, both [N], float64 on the CPU.
    """
    ends = _panels(grading, reach)
    nodes, weights = np.polynomial.legendre.leggauss(points)
    half = np.diff(ends)[:, None] / 2
    z = ((np.array(ends[:-1])[:, None] + half) + half * nodes).ravel()
    w = (half * weights).ravel() * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return torch.from_numpy(np.concatenate([-z[::-1], z])), torch.from_numpy(np.concatenate([w[::-1], w]))


def broken_rule(grading: int, points: int, places: Tensor, reach: float = REACH) -> tuple[Tensor, Tensor]:
    """The same rule with further panel ends of each variance: places [n, m] -> z and weights [n, N]."""
    half_line = torch.tensor(_panels(grading, reach)[1:], dtype=places.dtype, device=places.device)
    ends = torch.cat([-half_line.flip(0), half_line.new_zeros(1), half_line]).expand(len(places), -1)
    ends = torch.cat([ends, places.clamp(-reach, reach)], dim=1).sort(dim=1).values
    nodes, weights = (torch.from_numpy(a).to(places) for a in np.polynomial.legendre.leggauss(points))
    half = ends.diff(dim=1)[..., None] / 2
    z = (ends[:, :-1, None] + half + half * nodes).flatten(1)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return z, (half * weights).flatten(1) * density


def hermite(z: Tensor, orders: int) -> Tensor:
    """Orthonormal Hermite polynomials He_k(z)/√k!, for k < orders: [orders, *z.shape]."""
    values = [torch.ones_like(z)]
    for k in range(orders - 1):
        before = values[k - 1] * math.sqrt(k) if k else 0.0
        values.append((z * values[k] - before) / math.sqrt(k + 1))
    return torch.stack(values)


@lru_cache(maxsize=64)
def projection(grading: int, points: int, orders: int, reach: float = REACH) -> Tensor:
    """Matrix that takes values of φ at the nodes to its Hermite coefficients: w_n He_k(z_n)/√k!, [N, orders]."""
    z, weights = normal_rule(grading, points, reach)
    return (hermite(z, orders) * weights).T.contiguous()
