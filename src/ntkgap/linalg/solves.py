"""Solves with positive definite matrices that say when rounding has made them something else."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.errors import JitterWarning, KernelError
from ntkgap.linalg.matrices import gram_matrix
from ntkgap.linalg.rounding import remedies

# Relative to the mean of the diagonal. More than this changes predictions that people look at.
LARGEST_JITTER = 1e-6


@dataclass(frozen=True)
class PositiveFactor:
    """Cholesky factor of a positive definite matrix.

    Attributes:
        lower: L with LLᵀ = K + jitter·I, [n, n], float64.
        jitter: what had to be added to the diagonal; 0 where nothing had to.
    """

    lower: Tensor
    jitter: float

    def solve(self, right: Tensor) -> Tensor:
        """K⁻¹ b for b of shape [n, c]."""
        return torch.cholesky_solve(right, self.lower)

    def half_solve(self, right: Tensor) -> Tensor:
        """L⁻¹ b for b of shape [n, c]; its Gram matrix is bᵀK⁻¹b, symmetric and positive by construction."""
        return torch.linalg.solve_triangular(self.lower, right, upper=False)

    def log_determinant(self) -> float:
        """The logarithm of det K."""
        return 2 * float(self.lower.diagonal().log().sum())


def positive_factor(
    matrix: Tensor,
    name: str = "the matrix",
    remedy: str = "add to its diagonal",
    precision: torch.dtype | None = None,
) -> PositiveFactor:
    """Factorize a positive definite matrix, if need be with the smallest jitter that makes it one.

    It is tried as it is first. If that fails, a jitter is added to the diagonal, as a fraction of its mean: first
    10·u with u = max(nε, ε′), where ε is the unit of float64 and ε′ that of the entries, then ten times as much
    until it works. Where 1/‖K⁻¹‖_F, a lower bound of λ_min, is at most u·max(diagonal), the factor counts as
    failed although there is one: whether there is one then is chance, and what it solves is noise.

    Args:
        matrix: symmetric, [n, n]; float32 is promoted, and known to be coarser.
        name: of the matrix, for messages.
        remedy: what the caller can do about a singular matrix, for messages, besides what its entries show:
            inputs that repeat others, or a coarse type.
        precision: type of the arithmetic that made the entries, if coarser than the matrix's own type.

    Warns:
        JitterWarning: if something was added: how much, and the smallest eigenvalue.

    Raises:
        KernelError: if the matrix is not square, finite and symmetric, or needs a jitter of more than
            max(10⁻⁶, nε′) of its mean diagonal.
    """
    symmetric = gram_matrix(matrix, name)
    precision = precision or matrix.dtype
    entry_unit = torch.finfo(precision).eps
    unit = max(len(symmetric) * torch.finfo(torch.float64).eps, entry_unit)
    largest = max(LARGEST_JITTER, len(symmetric) * entry_unit, 10 * unit)
    mean, identity = float(symmetric.diagonal().mean()), torch.eye(len(symmetric)).to(symmetric)
    rounding = unit * float(symmetric.diagonal().max())
    relative = 0.0
    while relative <= largest:
        jitter = relative * mean
        lower, failed = torch.linalg.cholesky_ex(symmetric + jitter * identity)
        if not failed and 1 / float(torch.cholesky_inverse(lower).norm()) > rounding:
            if jitter > 0:
                warnings.warn(
                    f"{name} is not positive definite in this precision (λ_min = {_lambda_min(symmetric):.3g}): "
                    f"{jitter:.3g} was added to its diagonal; {remedies(symmetric, precision, remedy)}",
                    JitterWarning,
                    stacklevel=3,
                )
            return PositiveFactor(lower, jitter)
        relative = 10 * relative if relative > 0 else 10 * unit
    raise KernelError(
        f"{name} is not positive definite (λ_min = {_lambda_min(symmetric):.3g}), and no jitter up to "
        f"{largest:.3g} of its mean diagonal {mean:.3g} makes it so; "
        f"{remedies(symmetric, precision, remedy)}"
    )


def _lambda_min(symmetric: Tensor) -> float:
    return float(torch.linalg.eigvalsh(symmetric)[0])
