"""Gaussian-process classification by Laplace's approximation: with the NTK, the NTK-GP of classes."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.optimize import minimize_scalar
from torch import Generator, Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.class_probabilities import class_probabilities
from ntkgap.linalg.evidence import Range
from ntkgap.linalg.likelihoods import are_probabilities
from ntkgap.linalg.matrices import array, gram_matrix
from ntkgap.one_line import line_of, one_line

MAX_STEPS = 100

# Newton's method ends where a step gains less than this many nats an example; it converges quadratically.
GAIN = 1e-12

# Precisions are tried on so many points of the bounds, and the best of them is refined.
GRID_POINTS = 13


@dataclass(frozen=True)
class ClassPosterior:
    """Outputs at k points, each point on its own; float64.

    Attributes:
        mean: [k, C].
        covariance: between outputs, [k, C, C].
    """

    mean: Tensor
    covariance: Tensor

    __repr__ = one_line

    def probabilities(
        self, method: str = "probit", *, samples: int = 1000, generator: Generator | None = None
    ) -> Tensor:
        """Predictive probabilities, the mean of softmax(f), [k, C]; see ``kernels.class_probabilities``.

        Args:
            method: ``"probit"``, ``"monte_carlo"`` or ``"bridge"``.
            samples: number of draws of ``"monte_carlo"``.
            generator: source of the draws.
        """
        return class_probabilities(self.mean, self.covariance, method, samples=samples, generator=generator)


class GaussianProcessClassifier:
    r"""Posterior of C functions f_c ~ GP(0, k/δ) given classes y with p(c | x) = softmax(f(x))_c.

    The posterior is taken for the Gaussian at its mode f̂, found by Newton's method, with the curvature there:

    .. math:: \log q(y) = \log p(y \mid \hat f) - \tfrac12 \hat f^\top (K/\delta)^{-1} \hat f
              - \tfrac12 \log\det(I + W^{1/2} (K/\delta) W^{1/2}), \qquad
              m_c(x) = k_{xX} (y_c - \hat p_c)/\delta

    With k the infinite-width NTK it is the NTK-GP of a classifier; with the NNGP kernel, the infinitely wide
    Bayesian classifier. Costs O(C n³) a step. Source: Rasmussen, Williams 2006, section 3.5, algorithms 3.3, 3.4.

    Args:
        gram: k of the training inputs, one matrix shared by all outputs, [n, n].
        targets: y, one-hot or probabilities, [n, C], C ≥ 2.
        prior_precision: δ.

    Attributes:
        prior_precision: δ.
        mode: f̂, [n, C].
        log_evidence: log q(y), in nats.
        at_edge: whether ``fit_evidence`` found the greatest evidence at a bound; else False.

    Raises:
        KernelError: if a shape does not fit, an entry is not finite, the matrix is not symmetric and positive
            semidefinite, the targets are no probabilities, or δ is not positive and finite.

    Example:
        >>> x = torch.tensor([[-1.0, 0.2], [-0.8, -0.3], [1.0, 0.1], [0.9, -0.2]], dtype=torch.float64)
        >>> y = torch.eye(2, dtype=torch.float64)[[0, 0, 1, 1]]
        >>> posterior = ng.theory.GaussianProcessClassifier(x @ x.T + 1, y).fit_evidence()
        >>> new = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
        >>> predicted = posterior.predict(new @ x.T + 1, new @ new.T + 1)
        >>> int(predicted.probabilities("probit").argmax())
        1
    """

    def __init__(self, gram: Tensor, targets: Tensor, prior_precision: float = 1.0) -> None:
        if not (isinstance(prior_precision, int | float) and 0 < prior_precision < math.inf):
            raise KernelError(f"prior_precision must be a positive and finite number, got {prior_precision!r}")
        gram = torch.as_tensor(gram)
        self._gram, self._k = gram, gram_matrix(gram, "the prior's Gram matrix") / prior_precision
        self.targets = array(torch.as_tensor(targets), "the targets", (len(gram), None))
        if self.targets.shape[1] < 2 or not are_probabilities(self.targets):
            raise KernelError(
                "the targets of a classifier must be one-hot or probabilities, two or more columns with rows of "
                "numbers of at least 0 that add up to 1; load the data with targets='one_hot'"
            )
        self.prior_precision, self.at_edge = float(prior_precision), False
        self.mode, self._duals = self._newton()
        self._p = self.mode.softmax(dim=1)
        self._e, self._root, determinant = self._curvature(self._p)
        self.log_evidence = self._objective(self._duals, self.mode) - 0.5 * determinant

    def __repr__(self) -> str:
        n, classes = self.targets.shape
        more = {"prior_precision": self.prior_precision, "log_evidence": float(self.log_evidence)}
        return line_of(self, f"{n} examples", f"{classes} classes", **more)

    def predict(self, cross: Tensor, test: Tensor) -> ClassPosterior:
        """Posterior of the functions on k points.

        Args:
            cross: kernel of the points with the training inputs, [k, n].
            test: kernel of every point with itself, [k], or of all with each other, [k, k].

        Raises:
            KernelError: if a shape does not fit or an entry is not finite.
        """
        b = array(cross, "the cross kernel", (None, len(self._k))) / self.prior_precision
        prior = test.diagonal() if test.ndim == 2 else test
        if prior.shape != (len(b),) or not bool(torch.isfinite(prior).all()):
            raise KernelError(f"the kernel of the {len(b)} test points must be [k] or [k, k] and finite")
        mean = b @ (self.targets - self._p)
        reach = self._e @ b.T  # E_c k*, [C, n, k]
        shared = torch.linalg.solve_triangular(self._root, reach, upper=False)
        covariance = torch.einsum("cnk,dnk->kcd", shared, shared)
        own = prior.double() / self.prior_precision - torch.einsum("kn,cnk->ck", b, reach)
        covariance.diagonal(dim1=1, dim2=2).add_(own.T)
        # A variance is known up to the rounding of k**.
        covariance.diagonal(dim1=1, dim2=2).clamp_(min=0)
        return ClassPosterior(mean, covariance)

    def at(self, prior_precision: float) -> "GaussianProcessClassifier":
        """The same with another δ; the mode is sought again."""
        return GaussianProcessClassifier(self._gram, self.targets, prior_precision)

    def fit_evidence(self, bounds: Range = (1e-4, 1e4)) -> "GaussianProcessClassifier":
        """The same with the δ of the greatest evidence.

        Args:
            bounds: between which δ is sought; ``at_edge`` says whether they decided.

        Raises:
            KernelError: if they are not 0 < low < high < ∞.
        """
        low, high = bounds
        if not 0 < low < high < math.inf:
            raise KernelError(f"bounds of prior_precision must be 0 < low < high < ∞, got {bounds!r}")
        grid = torch.linspace(math.log(low), math.log(high), GRID_POINTS).tolist()
        values = [self.at(math.exp(point)).log_evidence for point in grid]
        i = max(range(GRID_POINTS), key=values.__getitem__)
        around = (grid[max(i - 1, 0)], grid[min(i + 1, GRID_POINTS - 1)])

        def cost(log: float) -> float:
            return -self.at(math.exp(log)).log_evidence

        found = minimize_scalar(cost, bounds=around, method="bounded", options={"xatol": 1e-3})
        best = self.at(math.exp(found.x))
        best = best if best.log_evidence >= values[i] else self.at(math.exp(grid[i]))
        best.at_edge = max(values[0], values[-1]) > best.log_evidence - 1e-3
        return best

    def _newton(self) -> tuple[Tensor, Tensor]:
        """The mode f̂ and a = (K/δ)⁻¹f̂, [n, C]."""
        duals = torch.zeros_like(self.targets)
        outputs, value = self._k @ duals, self._objective(duals, duals)
        for _ in range(MAX_STEPS):
            p = outputs.softmax(dim=1)
            e, root, _ = self._curvature(p)
            b = p * outputs - p * (p * outputs).sum(dim=1, keepdim=True) + self.targets - p
            c = (e @ (self._k @ b).T[..., None])[..., 0]  # E_c K b_c, [C, n]
            step = b - c.T + (e @ torch.cholesky_solve(c.sum(dim=0)[:, None], root))[..., 0].T - duals
            change, size = self._k @ step, 1.0
            while (new := self._objective(duals + size * step, outputs + size * change)) < value and size > 1e-6:
                size /= 2  # the objective is concave: a fraction of the step ascends
            if new < value:
                break
            duals, outputs, gained, value = duals + size * step, outputs + size * change, new - value, new
            if gained < GAIN * len(outputs):
                break
        return outputs, duals

    def _objective(self, duals: Tensor, outputs: Tensor) -> float:
        """Log p(y | f) − ½fᵀ(K/δ)⁻¹f."""
        return float((self.targets * outputs.log_softmax(dim=1)).sum() - 0.5 * (duals * outputs).sum())

    def _curvature(self, p: Tensor) -> tuple[Tensor, Tensor, float]:
        """E_c = D_c^½(I + D_c^½(K/δ)D_c^½)⁻¹D_c^½, the factor of Σ_c E_c, and log det(I + W(K/δ))."""
        half = p.T.sqrt()  # D_c^½, [C, n]
        inner = half[:, :, None] * self._k * half[:, None, :] + self._identity
        factor = self._factor(inner)
        e = half[:, :, None] * torch.cholesky_solve(torch.diag_embed(half), factor)
        root = self._factor((e + e.mT).sum(dim=0) / 2)
        determinant = 2 * (factor.diagonal(dim1=1, dim2=2).log().sum() + root.diagonal().log().sum())
        return (e + e.mT) / 2, root, float(determinant)

    @cached_property
    def _identity(self) -> Tensor:
        return torch.eye(len(self._k), dtype=torch.float64, device=self._k.device)

    def _factor(self, matrix: Tensor) -> Tensor:
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if bool(failed.any()):
            raise KernelError(
                "the prior's Gram matrix is not positive semidefinite, or too large beside its rounding: compute "
                "it in float64, or raise prior_precision"
            )
        return factor
