"""Hermite coefficients of a function of Gaussians of given variances."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.activations.nodes import normal_rule, projection

POINTS = {24: 16, 64: 16, 160: 20, 400: 28}
"""Nodes of a panel by the number of coefficients: h_k swings √k times a unit of z."""


@dataclass(frozen=True)
class Expansion:
    """What a function f of N(0, q) is made of, for every variance q of one side of the pairs.

    Attributes:
        coefficients: a_k = E[f(√q z) h_k(z)], [K, n].
        second_moment: E[f²], [n].
        tail: (Σ_{j > k} a_j²)/E[f²] for every k, the largest over the variances, [K].
        error: estimated relative error of the quadrature.
    """

    coefficients: Tensor
    second_moment: Tensor
    tail: Tensor
    error: float


class Integrand:
    """A scalar function and its derivative, evaluated with care.

    Args:
        function: elementwise function of a float64 tensor.
        name: how messages call it.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], name: str) -> None:
        self.function, self.name = function, name

    def values(self, x: Tensor, slope: bool) -> Tensor:
        """f(x), or f'(x) by automatic differentiation; float64, shape of x.

        Raises:
            KernelError: if the result has another shape or is not finite.
        """
        x = x.detach().clone()
        with torch.enable_grad() if slope else torch.no_grad():
            leaf = x.requires_grad_(slope)
            # A copy, because the function may work in place.
            y = self.function(leaf.clone())
            if not isinstance(y, Tensor) or y.shape != x.shape:
                raise KernelError(f"{self.name} does not act on every entry: it changes the shape of its input")
            if slope and y.requires_grad:
                (y,) = torch.autograd.grad(y.sum(), leaf)
            elif slope:
                y = torch.zeros_like(x)
        if not bool(y.isfinite().all()):
            bad = x.detach()[~y.isfinite()]
            raise KernelError(
                f"{'the derivative of ' * slope}{self.name} is not finite at x = {bad[bad.abs().argmin()]:.6g}, "
                "which Gaussians of the given variance reach; scale the inputs or the weights down"
            )
        return y.detach().double()

    def second_moment(self, q: Tensor, slope: bool) -> tuple[Tensor, Tensor, float]:
        """E[f²], its derivative in q, and the estimated relative error, for variances q [n], float64."""
        squares, z, weights = self._at_nodes(q, slope, 16, 0)
        squares = squares.square()
        moment = squares @ weights
        # d/dq E[g(√q z)] = E[g(√q z)(z² − 1)]/(2q), by parts: g needs no derivative of its own.
        change = squares @ (weights * (z.square() - 1)) * torch.where(q > 0, 0.5 / q, 0)
        few = _representatives(q)
        finer, _, finer_weights = self._at_nodes(few, slope, 24, 2)
        finer_moment = finer.square() @ finer_weights
        coarse = self._at_nodes(few, slope, 16, 0)[0].square() @ weights if len(few) < len(q) else moment
        return moment, change, _relative(coarse - finer_moment, finer_moment)

    def expansion(self, q: Tensor, slope: bool, orders: int) -> Expansion:
        """The first ``orders`` Hermite coefficients for variances q [n], float64."""
        points = POINTS[orders]
        f, _, weights = self._at_nodes(q, slope, points, 0)
        coefficients = f @ self._projection(q, points, orders, 0)
        moment = f.square() @ weights
        few = _representatives(q)
        finer, _, finer_weights = self._at_nodes(few, slope, points + 8, 2)
        coarse = self._at_nodes(few, slope, points, 0)[0] @ self._projection(few, points, orders, 0)
        fine = finer @ self._projection(few, points + 8, orders, 2)
        error = _relative((coarse - fine).norm(dim=1), (finer.square() @ finer_weights).sqrt())
        remaining = 1 - coefficients.square().cumsum(1) / moment.clamp_min(torch.finfo(moment.dtype).tiny)[:, None]
        # Below its own rounding the remainder says nothing: 1e-15 is 0 here, and its root is squared again.
        tail = remaining.clamp_min(1e-16).amax(0)
        return Expansion(coefficients.T.contiguous(), moment, tail, error)

    def _at_nodes(self, q: Tensor, slope: bool, points: int, finer: int) -> tuple[Tensor, Tensor, Tensor]:
        z, weights = (t.to(q.device) for t in normal_rule(_grading(q) + finer, points))
        return self.values(q.sqrt()[:, None] * z, slope), z, weights

    def _projection(self, q: Tensor, points: int, orders: int, finer: int) -> Tensor:
        return projection(_grading(q) + finer, points, orders).to(q.device)


def _grading(q: Tensor) -> int:
    """Halvings of the panels until the innermost is no longer than half a unit of x = √q z."""
    largest = max(float(q.max()), 1e-12) if q.numel() else 1.0
    return min(max(0, int(torch.tensor(largest).log2().item() / 2) + 2), 40)


def _representatives(q: Tensor) -> Tensor:
    return q if len(q) <= 3 else torch.stack([q.min(), q.median(), q.max()])


def _relative(difference: Tensor, whole: Tensor) -> float:
    whole = whole.abs()
    nonzero = whole > 0
    return float((difference.abs()[nonzero] / whole[nonzero]).max()) if bool(nonzero.any()) else 0.0
