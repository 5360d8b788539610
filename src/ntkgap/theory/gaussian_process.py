"""Gaussian-process posteriors: the Bayesian infinitely wide network (NNGP) and the NTK as a prior (NTK-GP)."""

import math

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.gaussian import Gaussian, as_covariance
from ntkgap.linalg.matrices import array, coarsest, coarsest_type, gram_matrix
from ntkgap.linalg.rounding import check_solve
from ntkgap.linalg.solves import PositiveFactor, positive_factor
from ntkgap.one_line import line_of

PRIOR = "the prior's Gram matrix"
NOISE_REMEDY = "raise noise_variance"


def noisy_factor(gram: Tensor, noise_variance: float | Tensor, name: str) -> PositiveFactor:
    """Factorize K + σ²I, or with a variance for every point K + diag(σ²).

    Raises:
        KernelError: if K is not square, finite and symmetric, the noise is negative or not finite, or the sum
            is not positive definite.
    """
    noise = torch.as_tensor(noise_variance, dtype=torch.float64)
    if not bool((torch.isfinite(noise) & (noise >= 0)).all()):
        raise KernelError(f"noise_variance must be finite and at least 0, got {noise_variance!r}")
    if noise.shape not in ((), (len(gram),)):
        raise KernelError(
            f"noise_variance must be one number, or one for each of the {len(gram)} points, got shape "
            f"{tuple(noise.shape)}"
        )
    noisy = gram_matrix(gram, name).clone()
    noisy.diagonal().add_(noise)
    return positive_factor(noisy, f"{name} + noise_variance·I", NOISE_REMEDY, gram.dtype)


class GaussianProcess:
    r"""Posterior of f ~ GP(0, k) given y = f(X) + ε, ε ~ N(0, σ²), each of the C outputs on its own.

    .. math:: m(x) = k_{xX} (K + \sigma^2 I)^{-1} y, \qquad
              V(x, x') = k_{xx'} - k_{xX} (K + \sigma^2 I)^{-1} k_{Xx'}

    With k the NNGP kernel this is what an infinitely wide Bayesian network predicts (Lee et al. 2018); with k
    the NTK it is the NTK-GP, which an ensemble of networks reaches if each is given the right random function
    and noisy targets (He, Lakshminarayanan, Teh 2020); see ``RandomizedPriorEnsemble``.
    Source of the formulas: Rasmussen, Williams 2006, algorithm 2.1.

    Args:
        gram: k of the training inputs, one matrix shared by all outputs, [n, n].
        targets: y, [n, C].
        noise_variance: σ², for all points or for each, [n]; with 0 the posterior interpolates.

    Attributes:
        jitter: what had to be added to the diagonal of K + σ²I beyond σ²; 0 unless a ``JitterWarning`` said so.

    Raises:
        KernelError: if a shape does not fit, an entry is not finite, the matrix is not symmetric, or K + σ²I is
            not positive definite.

    Example:
        >>> x = torch.linspace(0, 1, 5, dtype=torch.float64)
        >>> gram = torch.exp(-((x[:, None] - x) ** 2))
        >>> posterior = ng.GaussianProcess(gram, torch.sin(x)[:, None], noise_variance=0.01)
        >>> predicted = posterior.predict(cross=gram[:1], test=gram[:1, :1])
        >>> predicted.mean.shape, bool(predicted.std < 0.1)
        (torch.Size([1, 1]), True)
    """

    def __init__(self, gram: Tensor, targets: Tensor, noise_variance: float | Tensor = 0.0) -> None:
        gram, targets = torch.as_tensor(gram), torch.as_tensor(targets)
        self.factor = noisy_factor(gram, noise_variance, PRIOR)
        self.jitter = self.factor.jitter
        self.gram, self.n = gram, len(gram)
        self.targets = array(targets, "the targets", (self.n, None))
        self.duals = self.factor.solve(self.targets)
        self.scale, self.unit = float(gram.abs().max()), coarsest([gram])

    def __repr__(self) -> str:
        return line_of(self, f"{self.n} examples", f"{self.targets.shape[1]} outputs", jitter=self.jitter)

    def predict(self, cross: Tensor, test: Tensor) -> Gaussian:
        """Posterior of f, not of noisy observations of it, on k points.

        Args:
            cross: kernel of the points with the training inputs, [k, n].
            test: kernel of the points with themselves, [k, k].

        Returns:
            mean [k, C] and covariance [k, k].

        Warns:
            AccuracyWarning: if the rounding of the kernels decides the mean.

        Raises:
            KernelError: if a shape does not fit, an entry is not finite, or a variance comes out negative.
        """
        b = array(cross, "the cross kernel", (None, self.n))
        prior = gram_matrix(test, "the kernel of the test points", len(b))
        check_solve(self.gram, self.duals, self.targets, PRIOR, NOISE_REMEDY, coarsest_type([self.gram, cross]))
        half = self.factor.half_solve(b.T)  # L⁻¹k_Xx
        weights = self.factor.solve(b.T).T
        scale = max(self.scale, float(prior.abs().max()))
        covariance = as_covariance(prior - half.T @ half, weights, scale, max(self.unit, coarsest([cross, test])))
        return Gaussian(weights @ self.targets, covariance)

    def log_marginal_likelihood(self) -> Tensor:
        r"""Log probability of each output's targets, :math:`\log N(y_c; 0, K + \sigma^2 I)`, [C].

        Warns:
            AccuracyWarning: if the rounding of the kernel decides it.
        """
        check_solve(self.gram, self.duals, self.targets, PRIOR, NOISE_REMEDY)
        fit = self.factor.half_solve(self.targets).square().sum(dim=0)
        return -0.5 * (fit + self.factor.log_determinant() + self.n * math.log(2 * math.pi))
