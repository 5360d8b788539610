"""The evidence of a linear-Gaussian model for every prior precision and noise, from one decomposition."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.matrices import as_matrix, check_symmetric
from ntkgap.linalg.rounding import warn_of_rounding
from ntkgap.linalg.spectrum import eigenpairs
from ntkgap.one_line import line_of, one_line

Range = tuple[float, float]

# Without bounds of the caller's, both are sought this many decades around what a model would have that explains
# the residual by the kernel alone (δ), or by noise alone (σ²).
DECADES = 8
GRID_POINTS = 33  # a side: half a decade between neighbors
STARTS = 3

# Nats by which two choices must differ to be told apart. Evidence may rise toward a bound ever more slowly, and
# then its ascent ends anywhere.
DISTINCT = 1e-3

# A bound on what rounding does to the log evidence, in nats an observation of a model that fits, above which it is
# said. It is of the worst rounding: where it is 1, kernels of infinite width in float32 are off by 0.05 to 0.15.
INCONCLUSIVE = 1.0


@dataclass(frozen=True)
class EvidenceMaximum:
    """Where the evidence is greatest.

    Attributes:
        prior_precision: δ.
        noise_variance: σ².
        log_evidence: the logarithm of the evidence there.
        at_edge: whether a value that was sought lies on one of its bounds, or might as well (the evidence there is
            lower by less than 0.001 nats): the data alone did not choose it.
    """

    prior_precision: float
    noise_variance: float
    log_evidence: float
    at_edge: bool

    __repr__ = one_line


class Evidence:
    r"""Evidence of ỹ = J w + ε with w ~ N(0, I/δ) and ε ~ N(0, σ²I), from the Gram matrix K = JJᵀ.

    .. math:: \log p(\tilde y \mid \delta, \sigma^2) = \log N(\tilde y; 0, K/\delta + \sigma^2 I)

    One eigendecomposition, O(r³), serves every δ and σ², each then O(r). With K the kernel of an infinitely wide
    network the same function tells the hyperparameters of its Gaussian process. The data fit enters once: with
    the residual at the posterior mean in place of ỹ the prior would be counted twice.
    Source: MacKay 1992, *Bayesian interpolation*; Rasmussen, Williams 2006, equation 5.8.

    Args:
        gram: K, [r, r]; or a kernel over several outputs, [n, n, C, C], laid out by ``as_matrix``, r = nC.
        residual: ỹ. For K [r, r]: [r], or [r, C] for C independent outputs that share the kernel. For K
            [n, n, C, C]: [n, C], or [nC] example by example. A matrix [nC, nC] does not say what n is, and [n, C]
            could not be told from its transpose: it is refused there; flatten it.

    Attributes:
        size: number of observations, r, or n·C for C outputs that share a kernel.
        eigenvalues: κ_i of K, [r]; those of JJᵀ with an eigenvector in the span of J alone if made from features.
        modes: their eigenvectors in the columns, [r, r] or [r, min(r, P)].

    Raises:
        KernelError: if K is not square, finite, symmetric and positive semidefinite, or the residual does not
            fit it or is not finite; by the methods, if δ or σ² is not positive and finite.

    Example:
        >>> features = torch.eye(4, dtype=torch.float64)
        >>> evidence = ng.linalg.Evidence(features @ features.T, torch.ones(4, 1))
        >>> found = evidence.maximum(noise_variance=0.5)
        >>> round(found.prior_precision, 2)  # 1/δ + ½ is the mean square of the targets, 1
        2.0
    """

    def __init__(self, gram: Tensor, residual: Tensor) -> None:
        if gram.ndim == 4:
            gram, residual = _laid_out(gram, residual)
        symmetric = check_symmetric(gram)
        columns = _columns(residual, len(gram)).to(symmetric)
        self.eigenvalues, self.modes, self._floor = eigenpairs(symmetric, gram.dtype, "the Gram matrix")
        self._gram: Tensor | None = gram
        power = (self.modes.T @ columns).square().sum(dim=1)
        self._set(self.eigenvalues, power, torch.full_like(power, columns.shape[1]))

    def __repr__(self) -> str:
        return line_of(self, f"{len(self.eigenvalues)} eigenvalues", largest=float(self.eigenvalues[-1]))

    @classmethod
    def of_features(cls, features: Tensor, residual: Tensor) -> "Evidence":
        """The same from J itself: O(rP²) by a thin singular value decomposition, no r × r matrix if P < r.

        Args:
            features: J, [r, P].
            residual: ỹ, [r], or [r, C] for C independent outputs that share the features.

        Raises:
            KernelError: as the class does.
        """
        if features.ndim != 2 or 0 in features.shape:
            raise KernelError(f"features must be a matrix [r, P], got shape {tuple(features.shape)}")
        if not features.is_floating_point() or not torch.isfinite(features).all():
            raise KernelError("features must be finite floating-point numbers")
        columns = _columns(residual, len(features)).to(features).double()
        left, values, _ = torch.linalg.svd(features.double(), full_matrices=False)
        seen = left.T @ columns
        # What J cannot reach belongs to eigenvalues of zero, which the decomposition does not list.
        unseen = (columns - left @ seen).square().sum()[None]
        c, hidden = columns.shape[1], len(features) - len(values)
        evidence = cls.__new__(cls)
        evidence._gram = None  # the squares of J's singular values are not rounded as the eigenvalues of JJᵀ are
        evidence.modes, evidence.eigenvalues = left, values.square()
        evidence._set(
            torch.cat([values.square(), values.new_zeros(1)]),
            torch.cat([seen.square().sum(dim=1), unseen if hidden else torch.zeros_like(unseen)]),
            torch.cat([torch.full_like(values, c), values.new_full((1,), c * hidden)]),
        )
        return evidence

    def _set(self, eigenvalues: Tensor, power: Tensor, multiplicity: Tensor) -> None:
        """κ_i, the squared length of the residual along its modes, and the number of those modes."""
        self._kappa, self._power, self._count = (t.cpu().numpy() for t in (eigenvalues, power, multiplicity))
        self.size = int(self._count.sum())

    def log_evidence(self, prior_precision: float, noise_variance: float) -> float:
        """Logarithm of N(ỹ; 0, K/δ + σ²I), in nats.

        Warns:
            AccuracyWarning: if the rounding of K decides it.
        """
        _check_positive(prior_precision=prior_precision, noise_variance=noise_variance)
        self._check_rounding(prior_precision, noise_variance)
        return float(self._log_evidence(np.asarray(prior_precision), np.asarray(noise_variance)))

    def log_determinant(self, prior_precision: float, noise_variance: float) -> float:
        """Logarithm of det(K/δ + σ²I), added up over outputs that share K."""
        _check_positive(prior_precision=prior_precision, noise_variance=noise_variance)
        return float(self._count @ np.log(self._kappa / prior_precision + noise_variance))

    def effective_parameters(self, prior_precision: float, noise_variance: float) -> float:
        """Σ_i κ_i/(κ_i + δσ²): how many directions of parameter space the data decide rather than the prior."""
        _check_positive(prior_precision=prior_precision, noise_variance=noise_variance)
        return float(self._count @ (self._kappa / (self._kappa + prior_precision * noise_variance)))

    def gradient(self, prior_precision: float, noise_variance: float) -> tuple[float, float]:
        """Derivatives of the log evidence with respect to log δ and log σ²."""
        _check_positive(prior_precision=prior_precision, noise_variance=noise_variance)
        signal = self._kappa / prior_precision
        variance = signal + noise_variance
        slope = 0.5 * (self._power / variance - self._count) / variance  # of log N with respect to the variance
        return -float(slope @ signal), noise_variance * float(slope.sum())

    def maximum(
        self,
        prior_precision: float | None = None,
        noise_variance: float | None = None,
        bounds: tuple[Range, Range] | None = None,
    ) -> EvidenceMaximum:
        """The δ and σ² of the greatest evidence: a grid over the bounds, then ascent from its best local maxima.

        Args:
            prior_precision: δ, where it is given and not sought.
            noise_variance: σ², where it is given and not sought.
            bounds: of δ and of σ², in which what is not given is sought. By default eight decades either way
                of tr K/‖ỹ‖² (per output) and of the mean square of ỹ.

        Warns:
            AccuracyWarning: if the rounding of K decides the evidence where it is greatest.

        Raises:
            KernelError: if a number is not positive and finite, or the bounds are no two pairs of numbers, each
                with a lower bound below its upper bound.
        """
        ranges = self.default_bounds if bounds is None else _pairs(bounds)
        axes, limits = [], []
        for name, given, (low, high) in zip(
            ("prior_precision", "noise_variance"), (prior_precision, noise_variance), ranges, strict=True
        ):
            if given is not None:
                _check_positive(**{name: given})
                low = high = given
            elif not 0 < low < high < math.inf:
                raise KernelError(f"bounds of {name} must be 0 < low < high < ∞, got {(low, high)!r}")
            limits.append((math.log(low), math.log(high)))
            axes.append(np.linspace(*limits[-1], 1 if given is not None else GRID_POINTS))

        best = max(
            (self._ascend(start, limits) for start in self._promising(*axes)), key=lambda found: self._at(found)
        )
        moves = [(k, end) for k, (low, high) in enumerate(limits) if low < high for end in (low, high)]
        edge = any(
            self._at(np.where(np.arange(2) == k, end, best)) > self._at(best) - DISTINCT for k, end in moves
        )
        found = [math.exp(value) for value in best]
        delta = found[0] if prior_precision is None else prior_precision
        noise = found[1] if noise_variance is None else noise_variance
        self._check_rounding(delta, noise)
        greatest = float(self._log_evidence(np.asarray(delta), np.asarray(noise)))
        return EvidenceMaximum(delta, noise, greatest, edge)

    def _check_rounding(self, prior_precision: float, noise_variance: float) -> None:
        r"""Warn where rounding E of K, with ‖E‖ ≤ φ, decides the log evidence: to first order it moves it by

        .. math:: \tfrac{1}{2\delta} |\alpha^\top E \alpha - \mathrm{tr}\, V^{-1} E| \le
                  \tfrac{\varphi}{2\delta} (\lVert\alpha\rVert^2 + \mathrm{tr}\, V^{-1}), \qquad
                  V = K/\delta + \sigma^2 I,\ \alpha = V^{-1} \tilde y .
        """
        if self._gram is None:
            return
        variance = self._kappa / prior_precision + noise_variance
        fit = self._power / variance  # adds up to the number of observations where the model fits
        slopes = float(((fit + self._count) / variance).sum())
        nats = 0.5 * self._floor / prior_precision * slopes / max(self.size, float(fit.sum()))
        if nats > INCONCLUSIVE:
            change = f"which can move the log evidence by {nats:.2g} nats an observation"
            name, own = "the Gram matrix", "give bounds that keep the noise larger"
            warn_of_rounding(change, self._floor, self._gram, name, own)

    def _log_evidence(self, prior_precision: np.ndarray, noise_variance: np.ndarray) -> np.ndarray:
        """At every pair of [...] and [...]."""
        variance = self._kappa / prior_precision[..., None] + noise_variance[..., None]
        fit = (self._power / variance).sum(axis=-1)
        return -0.5 * (fit + np.log(variance) @ self._count + self.size * math.log(2 * math.pi))

    def _at(self, logarithms: np.ndarray) -> float:
        return float(self._log_evidence(*np.exp(logarithms)))

    @property
    def default_bounds(self) -> tuple[Range, Range]:
        """Of δ and of σ², eight decades either way of what would explain ỹ by the kernel, or by noise, alone."""
        outside = 10.0**DECADES
        noise = float(self._power.sum()) / self.size or 1.0  # a residual of zero has no scale of its own
        signal = float(self._count @ self._kappa) / self.size or 1.0
        delta = signal / noise
        return (delta / outside, delta * outside), (noise / outside, noise * outside)

    def _promising(self, log_precisions: np.ndarray, log_noises: np.ndarray) -> list[np.ndarray]:
        """The best local maxima of the grid, as pairs of logarithms."""
        noises = np.exp(log_noises)
        values = np.stack([self._log_evidence(np.full_like(noises, d), noises) for d in np.exp(log_precisions)])
        padded = np.pad(values, 1, constant_values=-np.inf)
        rows, columns = values.shape
        around = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
        peaks = sorted(np.argwhere(values >= np.max(around, axis=0)), key=lambda at: -values[tuple(at)])
        return [np.array([log_precisions[i], log_noises[j]]) for i, j in peaks[:STARTS]]

    def _ascend(self, start: np.ndarray, limits: list[Range]) -> np.ndarray:
        """L-BFGS-B on the negative log evidence an observation, so that tolerances have a scale."""

        def cost(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
            slope = np.array(self.gradient(*np.exp(logarithms)))
            return -self._at(logarithms) / self.size, -slope / self.size

        options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 200}
        found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=limits, options=options).x
        return found if self._at(found) >= self._at(start) else start


def _columns(residual: Tensor, rows: int) -> Tensor:
    """The residual as [rows, c], c outputs on one kernel."""
    if not residual.is_floating_point() or not torch.isfinite(residual).all():
        raise KernelError("the residual must hold finite floating-point numbers; did the network diverge?")
    if residual.ndim == 1 and len(residual) == rows:
        return residual[:, None]
    if residual.ndim == 2 and len(residual) == rows and residual.shape[1] > 0:
        return residual
    remedy = f"give [{rows}], or [{rows}, C] for C outputs that share the kernel"
    if residual.ndim == 2 and residual.numel() == rows:
        remedy += (
            "; a residual [n, C] of a kernel over several outputs goes with that kernel as [n, n, C, C], or "
            "flattened example by example: residual.flatten()"
        )
    raise KernelError(f"the residual has shape {tuple(residual.shape)}, the kernel {rows} rows; {remedy}")


def _laid_out(kernel: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """A kernel [n, n, C, C] as a matrix [nC, nC], and the residual [n, C] or [nC] as [nC]."""
    n, n2, c, c2 = kernel.shape
    if n != n2 or c != c2:
        raise KernelError(f"a kernel over several outputs must be [n, n, C, C], got {tuple(kernel.shape)}")
    if residual.shape not in ((n, c), (n * c,)):
        raise KernelError(
            f"the residual has shape {tuple(residual.shape)}, but the kernel is of {n} examples and {c} outputs; "
            f"give [{n}, {c}]"
        )
    return as_matrix(kernel), residual.flatten()


def _pairs(bounds: tuple[Range, Range]) -> tuple[Range, Range]:
    """The bounds as numbers; whether they are in order is another question."""
    try:
        (low1, high1), (low2, high2) = bounds
        return (float(low1), float(high1)), (float(low2), float(high2))
    except (TypeError, ValueError):
        raise KernelError(
            "bounds must be two pairs of numbers, of prior_precision and of noise_variance: "
            f"((low, high), (low, high)); got {bounds!r}"
        ) from None


def _check_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            raise KernelError(f"{name} must be positive and finite, got {value!r}")
