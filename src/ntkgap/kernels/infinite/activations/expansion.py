"""Hermite coefficients of a function of Gaussians of given variances."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.activations.kinks import ORDERS, Kink, find_kinks
from ntkgap.kernels.infinite.activations.nodes import FARTHER, REACH, broken_rule, normal_rule, projection
from ntkgap.kernels.infinite.activations.splines import Spline

POINTS = {24: 16, 64: 16, 160: 20, 400: 28, 900: 40}
"""Nodes of a panel by the number of coefficients: h_k swings √k times a unit of z."""


LARGEST_CURVED = 50.0
"""Beyond this variance only jumps of the slope are taken out of the series."""


AT_ONCE = 64
"""Variances expanded together: each takes some thousands of nodes."""


SMALLEST = 1e-24
"""Second moments below this share of that of the identity count as this share: nothing is relative to them."""


@dataclass(frozen=True)
class Expansion:
    """What a function f of N(0, q) is made of, for every variance q of one side of the pairs.

    Attributes:
        coefficients: a_k = E[f(√q z) h_k(z)], [K, n].
        tail: √(Σ_{j > k} a_j²/E[f²]) for every k, the largest over the variances, [K].
        error: estimated relative error of the quadrature.
        norm: √E[f²], [n].
        spline: the part R of f that its kinks make, if it has any.
        spline_coefficients: Hermite coefficients of R, [K, n].
        ends: the same tails beyond the last k of f − R and of R (estimated), even and odd k apart: [2, 2].
        rounding: relative error from adding and subtracting R.
    """

    coefficients: Tensor
    tail: Tensor
    error: float
    norm: Tensor
    spline: Spline | None = None
    spline_coefficients: Tensor | None = None
    ends: Tensor | None = None
    rounding: float = 0.0

    @property
    def nbytes(self) -> int:
        """Memory it takes, but for what is small."""
        return self.coefficients.nbytes + (
            0 if self.spline_coefficients is None else self.spline_coefficients.nbytes
        )

    @staticmethod
    def joined(parts: "list[Expansion]") -> "Expansion":
        """Of the variances of all parts, one behind the other."""
        if len(parts) == 1:
            return parts[0]
        splines = [part.spline for part in parts if part.spline is not None]
        own = [part.spline_coefficients for part in parts if part.spline_coefficients is not None]
        ends = [part.ends for part in parts if part.ends is not None]
        return Expansion(
            torch.cat([part.coefficients for part in parts], 1),
            torch.stack([part.tail for part in parts]).amax(0),
            max(part.error for part in parts),
            torch.cat([part.norm for part in parts]),
            Spline.joined(splines) if splines else None,
            torch.cat(own, 1) if own else None,
            torch.stack(ends).amax(0) if ends else None,
            max(part.rounding for part in parts),
        )


class Integrand:
    """A scalar function and its derivative, evaluated with care.

    Args:
        function: elementwise function of a float64 tensor.
        name: how messages call it.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], name: str) -> None:
        self.function, self.name = function, name

    @cached_property
    def kinks(self) -> tuple[Kink, ...]:
        """Where φ has a kink."""
        return find_kinks(self.function)

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
        moments, changes = [], []
        for part in q.split(AT_ONCE):
            squares, z, weights = self._between_kinks(part, slope, 16, 0)
            moments.append((squares * weights).sum(1))
            # d/dq E[g(√q z)] = E[g(√q z)(z² − 1)]/(2q), by parts: g needs no derivative of its own.
            changes.append((squares * weights * (z.square() - 1)).sum(1) * torch.where(part > 0, 0.5 / part, 0))
        moment, change = torch.cat(moments), torch.cat(changes)
        few = _representatives(q)
        finer, _, finer_weights = self._between_kinks(few, slope, 24, 2, FARTHER)
        coarse, _, coarse_weights = self._between_kinks(few, slope, 16, 0)
        finer_moment = (finer * finer_weights).sum(1)
        return moment, change, _relative((coarse * coarse_weights).sum(1) - finer_moment, finer_moment)

    def expansion(self, q: Tensor, slope: bool, orders: int) -> Expansion:
        """The first ``orders`` Hermite coefficients for variances q [n], float64."""
        error = self._error(_representatives(q), slope, orders)
        return Expansion.joined([self._expansion(part, slope, orders, error) for part in q.split(AT_ONCE)])

    def _error(self, q: Tensor, slope: bool, orders: int) -> float:
        """Relative error of the coefficients, from a finer rule that reaches farther."""
        points = POINTS[orders]
        coarse = self._smooth(q, slope, points, orders, 0)[1]
        fine = self._smooth(q, slope, points + 8, orders, 2, FARTHER)[1]
        squares, _, weights = self._between_kinks(q, slope, points, 0)
        return _relative((coarse - fine).norm(dim=1), _floored((squares * weights).sum(1), q, slope).sqrt())

    def _expansion(self, q: Tensor, slope: bool, orders: int, error: float) -> Expansion:
        points = POINTS[orders]
        smooth, coefficients, spline = self._smooth(q, slope, points, orders, 0)
        squares, _, weights = self._between_kinks(q, slope, points, 0)
        exact = (squares * weights).sum(1)
        moment = _floored(exact, q, slope)
        if spline is None:
            tail = _tail(coefficients, exact, moment)
            return Expansion(coefficients.T.contiguous(), tail, error, moment.sqrt())
        _, weights = (t.to(q.device) for t in normal_rule(_grading(q), points))
        own = spline.coefficients(orders).T
        ends = []
        for parity, sign in ((0, 1), (1, -1)):
            part = (smooth + sign * smooth.flip(1)) / 2
            left = (part.square() @ weights - coefficients[:, parity::2].square().sum(1)) / moment
            rest = orders * own[:, parity::2][:, -8:].square().amax(1) / moment
            ends.append(torch.stack([left.clamp_min(1e-16).max(), rest.max()]))
        size = float((own.square().sum(1) / moment).max())
        whole = coefficients + own
        return Expansion(
            whole.T.contiguous(),
            _tail(whole, exact, moment),
            error,
            moment.sqrt(),
            spline,
            own.T.contiguous(),
            torch.stack(ends).sqrt(),
            size * torch.finfo(q.dtype).eps,
        )

    def _smooth(
        self, q: Tensor, slope: bool, points: int, orders: int, finer: int, reach: float = REACH
    ) -> tuple[Tensor, Tensor, Spline | None]:
        """The function without its spline at the nodes [n, N], its coefficients [n, K], and the spline."""
        grading = _grading(q) + finer
        z, _ = (t.to(q.device) for t in normal_rule(grading, points, reach))
        f = self.values(q.sqrt()[:, None] * z, slope)
        spline = Spline.of(self.kinks, q, slope, self._jumps(q)) if self.kinks else None
        if spline is not None:
            f = f - spline.values(z)
        return f, f @ projection(grading, points, orders, reach).to(q.device), spline

    def _jumps(self, q: Tensor) -> int:
        """How many derivatives' jumps are taken out: beyond the first, a spline grows faster than the function."""
        return 1 if q.numel() and float(q.max()) > LARGEST_CURVED else ORDERS

    def _between_kinks(
        self, q: Tensor, slope: bool, points: int, finer: int, reach: float = REACH
    ) -> tuple[Tensor, Tensor, Tensor]:
        """f² at nodes of panels that end at the kinks, the nodes and their weights, each [n, N] or [N]."""
        away = [k.position for k in self.kinks if k.position != 0]
        root = q.sqrt()[:, None]
        if away:
            places = torch.tensor(away, dtype=q.dtype, device=q.device) / root.clamp_min(1e-150)
            z, weights = broken_rule(_grading(q) + finer, points, places, reach)
        else:
            z, weights = (t.to(q.device) for t in normal_rule(_grading(q) + finer, points, reach))
        return self.values(root * z, slope).square(), z, weights


def _floored(moment: Tensor, q: Tensor, slope: bool) -> Tensor:
    """Second moments, but no less than ``SMALLEST`` of the identity's, nor zero."""
    return torch.maximum(moment, SMALLEST * (torch.ones_like(q) if slope else q.clamp_min(1e-200)))


def _tail(coefficients: Tensor, moment: Tensor, relative_to: Tensor) -> Tensor:
    remaining = (moment[:, None] - coefficients.square().cumsum(1)) / relative_to[:, None]
    # Below its own rounding the remainder says nothing; the bound of a pair multiplies two such tails.
    return remaining.clamp_min(1e-16).sqrt().amax(0)


def _grading(q: Tensor) -> int:
    """Halvings of the panels until the innermost is no longer than half a unit of x = √q z."""
    largest = max(float(q.max()), 1e-12) if q.numel() else 1.0
    return min(max(0, int(math.log2(largest) / 2) + 2), 40)


def _representatives(q: Tensor) -> Tensor:
    return q if len(q) <= 3 else torch.stack([q.min(), q.median(), q.max()])


def _relative(difference: Tensor, whole: Tensor) -> float:
    whole = whole.abs()
    nonzero = whole > 0
    return float((difference.abs()[nonzero] / whole[nonzero]).max()) if bool(nonzero.any()) else 0.0
