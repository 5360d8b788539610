"""A Gaussian posterior that takes in one observation after the other, in float64 and without forgetting."""

import math

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.one_line import line_of

# Rows of the factor are kept in panels of so many: a panel is one matrix product and one small triangular solve.
PANEL = 256
# The pivot own + noise − ... is a difference; below this fraction of its terms it is rounding.
ROUNDING = 1e-15
# Entries (i, j) and (j, i) may differ by so much of the largest: rounding of products in float32.
SYMMETRY = 1e-4


class SequentialPosterior:
    r"""Cholesky factor L of K_t + s·I, grown by one row an observation.

    K_t is the Gram matrix of the gradients g_1 … g_t seen so far and s the noise: exactly the linear-Gaussian
    posterior of P weights, whatever P is. With Z = s·I + Σ gᵢgᵢᵀ (P × P, never formed):

    .. math::
        g^\top Z^{-1} g = \tfrac{1}{s}\,\bigl(k_{**} - k^\top (K_t + sI)^{-1} k\bigr), \qquad
        \log\det(Z / s) = \log\det(I + K_t / s)

    (Woodbury's and Sylvester's identities). A query of K points costs t²K multiplications and reads L, ½t²
    numbers, once; appending a point that was among the last queried costs nothing more. Memory: 4t² bytes.
    Updating Z⁻¹ itself by the Sherman–Morrison formula loses digits with every update; this does not.

    Args:
        noise: s > 0.

    Raises:
        KernelError: if s is not positive and finite; by the methods, if shapes do not fit, or if an update
            leaves K_t + s·I indefinite.
    """

    def __init__(self, noise: float) -> None:
        if not 0 < noise < math.inf:
            raise KernelError(f"noise must be positive and finite, got {noise!r}")
        self.noise = float(noise)
        self._panels: list[Tensor] = []  # rows b·PANEL … of L, left of their diagonal block: [PANEL, b·PANEL]
        self._blocks: list[Tensor] = []  # the diagonal blocks, [PANEL, PANEL]; rows not yet filled are of I
        self._whitened = torch.zeros(PANEL, 1, dtype=torch.float64)  # L⁻¹ targets
        self._size = 0
        self._log_pivots = 0.0
        self._asked: tuple[Tensor, Tensor] | None = None  # last cross [t, K] and its L⁻¹ cross, padded

    def __repr__(self) -> str:
        return line_of(self, f"{len(self)} observations", noise=self.noise)

    def __len__(self) -> int:
        """Number of observations."""
        return self._size

    @classmethod
    def of_gram(cls, gram: Tensor, noise: float, targets: Tensor | None = None) -> "SequentialPosterior":
        """All observations of a Gram matrix at once: one Cholesky factorization, t³/3 multiplications.

        Args:
            gram: K_t, [t, t].
            noise: s > 0.
            targets: what was observed, [t] or [t, 1]; for ``mean`` only.

        Raises:
            KernelError: if a shape does not fit, targets are not finite, or K_t is not symmetric or K_t + s·I not
                positive definite.
        """
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
            raise KernelError(f"the Gram matrix must be square [t, t], got shape {list(gram.shape)}")
        posterior, t = cls(noise), len(gram)
        if targets is not None and targets.shape not in ((t,), (t, 1)):
            raise KernelError(
                f"targets must be one for each of {t} observations, [{t}], got shape {list(targets.shape)}"
            )
        if t == 0:
            return posterior
        if targets is not None and not torch.isfinite(targets).all():
            raise KernelError("targets have NaN or infinite entries")
        if (gram - gram.T).abs().max() > SYMMETRY * gram.abs().max():
            raise KernelError(
                "the Gram matrix is not symmetric; give products of all pairs of one set of gradients"
            )
        noisy = gram.double() + posterior.noise * torch.eye(t, dtype=torch.float64)
        lower, failed = torch.linalg.cholesky_ex(noisy)
        if failed or not torch.isfinite(lower).all():
            raise KernelError(f"the Gram matrix plus noise {noise:g} is not positive definite; {_REMEDY}")
        for start in range(0, t, PANEL):
            posterior._open_panel()
            rows = lower[start : start + PANEL]
            posterior._panels[-1][: len(rows)] = rows[:, :start]
            posterior._blocks[-1][: len(rows), : len(rows)] = rows[:, start : start + PANEL]
        posterior._size = t
        posterior._log_pivots = 2 * float(lower.diagonal().log().sum())
        if targets is not None:
            posterior._whitened[:t] = posterior._forward(posterior._padded(targets.reshape(t, 1)))[:t]
        return posterior

    def variance(self, cross: Tensor, own: Tensor) -> Tensor:
        """Posterior variance k** − kᵀ(K_t + sI)⁻¹k of noiseless values: [K].

        Args:
            cross: k, products of the seen gradients with those of K points, [t, K].
            own: k**, squared norms of the latter, [K].

        Raises:
            KernelError: if a shape does not fit, or products are not finite.
        """
        solved = self._solved(cross)
        if own.shape != cross.shape[1:]:  # another one might be broadcast to wrong variances
            raise KernelError(
                f"own must be one squared norm for each of {cross.shape[1]} points, [{cross.shape[1]}], got shape "
                f"{list(own.shape)}"
            )
        return (own.double() - solved.square().sum(0)).clamp_min(0)

    def mean(self, cross: Tensor, of_first: int | None = None) -> Tensor:
        """Posterior mean kᵀ(K_t + sI)⁻¹y with the targets y given to ``append``: [K].

        Args:
            cross: products of the seen gradients with those of K points, [t, K].
            of_first: how many observations count, the first ones; all if not given. The factor of their Gram
                matrix is the leading block of L, so that this costs nothing more.
        """
        counted = self._size if of_first is None else min(of_first, self._size)
        return (self._solved(cross)[:counted].mT @ self._whitened[:counted])[:, 0]

    def append(self, cross: Tensor, own: float | Tensor, target: float = 0.0) -> None:
        """Take in one observation.

        Args:
            cross: products of the seen gradients with the new one, [t].
            own: its squared norm.
            target: what was observed there; for ``mean`` only.

        Raises:
            KernelError: if K_{t+1} + sI is not positive definite in float64, or the target is not finite.
        """
        if not math.isfinite(target):
            raise KernelError(f"the target of observation {self._size + 1} is {target!r}; targets must be finite")
        row = self._row(cross)
        squares = float(row.square().sum())
        pivot = float(own) + self.noise - squares
        if not pivot > ROUNDING * (abs(float(own)) + self.noise + squares):
            raise KernelError(
                f"observation {self._size + 1} would leave the Gram matrix plus noise {self.noise:g} not positive "
                f"definite (pivot {pivot:.3g} of {float(own):.3g} + noise); {_REMEDY}"
            )
        if self._size == self._padded_size:
            self._open_panel()
        at, root = self._size % PANEL, math.sqrt(pivot)
        start = self._padded_size - PANEL
        self._panels[-1][at] = row[:start]
        self._blocks[-1][at, :at] = row[start : start + at]
        self._blocks[-1][at, at] = root
        known = float(row[: self._size] @ self._whitened[: self._size, 0])
        self._whitened[self._size] = (target - known) / root
        self._log_pivots += math.log(pivot)
        self._size += 1
        self._asked = None

    def solve(self, right: Tensor) -> Tensor:
        """(K_t + sI)⁻¹ b for b of shape [t, c]."""
        y = self._forward(self._padded(right))
        for b in reversed(range(len(self._blocks))):
            rows = slice(b * PANEL, (b + 1) * PANEL)
            y[rows] = torch.linalg.solve_triangular(self._blocks[b].mT, y[rows], upper=True)
            y[: b * PANEL] -= self._panels[b].mT @ y[rows]
        return y[: self._size]

    def log_determinant(self) -> float:
        """Log det(I + K_t/s), which is log det Z/det(s·I): each observation adds log(1 + variance/s)."""
        return self._log_pivots - self._size * math.log(self.noise)

    @property
    def _padded_size(self) -> int:
        return PANEL * len(self._blocks)

    def _open_panel(self) -> None:
        self._panels.append(torch.zeros(PANEL, self._padded_size, dtype=torch.float64))
        self._blocks.append(torch.eye(PANEL, dtype=torch.float64))
        missing = self._padded_size - len(self._whitened)
        if missing > 0:  # doubled, so that copying is rare
            self._whitened = torch.cat([self._whitened, torch.zeros_like(self._whitened)])

    def _padded(self, right: Tensor) -> Tensor:
        """Right-hand sides [t, c] in float64, with zeros below to whole panels."""
        if right.ndim != 2 or len(right) != self._size:
            raise KernelError(f"{self._size} observations were seen, but there are rows {tuple(right.shape)}")
        padded = torch.zeros(self._padded_size, right.shape[1], dtype=torch.float64)
        padded[: self._size] = right
        return padded

    def _forward(self, y: Tensor) -> Tensor:
        """L⁻¹ y in place, panel after panel; zero rows below the last observation stay zero."""
        for b, (panel, block) in enumerate(zip(self._panels, self._blocks, strict=True)):
            rows = slice(b * PANEL, (b + 1) * PANEL)
            y[rows] = torch.linalg.solve_triangular(block, y[rows] - panel @ y[: b * PANEL], upper=False)
        return y

    def _solved(self, cross: Tensor) -> Tensor:
        """L⁻¹ cross, padded: [·, K]."""
        if self._asked is None or not torch.equal(self._asked[0], cross):
            solved = self._forward(self._padded(cross))
            if not torch.isfinite(solved).all():
                raise KernelError("products of gradients are NaN or infinite; check the network's parameters")
            self._asked = cross.clone(), solved
        return self._asked[1]

    def _row(self, cross: Tensor) -> Tensor:
        """L⁻¹ cross for one point [t], from the last query where it was asked for there."""
        if self._asked is not None and cross.shape == self._asked[0].shape[:1]:
            known = (self._asked[0] == cross[:, None]).all(0).nonzero()
            if len(known):
                return self._asked[1][:, int(known[0])]
        return self._solved(cross.reshape(-1, 1))[:, 0]


_REMEDY = (
    "increase the noise (the regularization), evaluate the gradients in float64, or leave out observations that "
    "repeat others"
)
