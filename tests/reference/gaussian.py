"""Slow, obviously right expectations E[f(u) f(v)] of Gaussians: nested integrals, split where functions bend."""

import numpy as np
import torch

GAUSS = np.polynomial.legendre.leggauss(16)


def expectation(f, q1, q2, rho, bends=(), slope=False, reach=9.5):
    """E[f(u) f(v)], or E[f'(u) f'(v)], for variances q1, q2 and correlation rho.

    The outer integral is over u = √q1 x, the inner over v given u, a Gaussian of mean √q2 ρ x and standard
    deviation √q2 √(1 − ρ²). Both are split at the points where f or f' is not smooth; the outer also around
    the points where the mean of v passes one, at distances from far less than that deviation up to 1. They end
    ``reach`` standard deviations from 0, which must be more if f grows exponentially.
    """
    bends = np.asarray(bends)
    if abs(rho) == 1:
        edges = np.concatenate([panels(np.sqrt(q1), reach), bends / np.sqrt(q1), rho * bends / np.sqrt(q2)])
        x, w = composite(np.sort(edges.clip(-reach, reach))[None])
        return float(
            (w * density(x) * value(f, np.sqrt(q1) * x, slope) * value(f, rho * np.sqrt(q2) * x, slope)).sum()
        )
    width = np.sqrt(1 - rho**2)
    around = np.concatenate([[0.0], *([s * width * 2.0**j] for s in (-1, 1) for j in range(-2, 12))])
    crossings = (bends / np.sqrt(q2) / rho)[:, None] + around
    edges = np.concatenate([panels(np.sqrt(q1), reach), bends / np.sqrt(q1), crossings.ravel()])
    x, w = composite(np.sort(edges.clip(-reach, reach))[None])
    x, w = x[w > 0], w[w > 0]
    inner = panels(np.sqrt(q2) * width, reach)
    breaks = (bends / np.sqrt(q2) - rho * x[:, None]) / width
    y, wy = composite(
        np.sort(np.concatenate([np.tile(inner, (len(x), 1)), breaks.clip(-reach, reach)], 1), axis=1)
    )
    given = (wy * density(y) * value(f, np.sqrt(q2) * (rho * x[:, None] + width * y), slope)).sum(1)
    return float((w * density(x) * value(f, np.sqrt(q1) * x, slope) * given).sum())


def panels(scale, reach):
    """Ends of panels that are short against both 1 and 1/scale near the middle."""
    step = min(1.0, 1 / scale)
    return np.unique(
        np.concatenate([np.linspace(-reach, reach, int(2 * reach) + 1), step * np.arange(-6, 7)]).clip(
            -reach, reach
        )
    )


def composite(edges):
    """Gauss–Legendre on every panel: edges [n, p] -> nodes and weights [n, 16 (p − 1)]."""
    nodes, weights = GAUSS
    half = np.diff(edges, axis=1)[..., None] / 2
    x = edges[:, :-1, None] + half * (1 + nodes)
    return x.reshape(len(edges), -1), (half * weights).reshape(len(edges), -1)


def density(x):
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def value(f, x, slope):
    x = torch.from_numpy(np.ascontiguousarray(x)).requires_grad_(slope)
    y = f(x.clone())
    if not slope:
        return y.numpy()
    if not y.requires_grad:
        return np.zeros(x.shape)
    return torch.autograd.grad(y.sum(), x)[0].numpy()
