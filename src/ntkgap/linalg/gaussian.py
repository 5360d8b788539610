"""Gaussians over functions at some points: what theories of ensembles and posteriors predict, and distances."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from ntkgap.errors import KernelError
from ntkgap.one_line import one_line


@dataclass(frozen=True)
class Gaussian:
    """Distribution of a function with C outputs at k points; the outputs are independent of each other.

    Attributes:
        mean: [..., k, C]; leading dimensions are times, if several were asked for.
        covariance: of every output, [..., k, k], symmetric with no negative variance.
    """

    mean: Tensor
    covariance: Tensor

    __repr__ = one_line

    @property
    def variance(self) -> Tensor:
        """Of every output at every point, [..., k]."""
        return self.covariance.diagonal(dim1=-2, dim2=-1)

    @property
    def std(self) -> Tensor:
        """Standard deviation of every output at every point, [..., k]."""
        return self.variance.sqrt()

    @cached_property
    def root(self) -> Tensor:
        """R with R Rᵀ = V, [..., k, k]."""
        # Eigenvectors rather than Cholesky: a covariance may be singular, as it is at fitted points.
        eigenvalues, vectors = torch.linalg.eigh(self.covariance)
        return vectors * eigenvalues.clamp_min(0).sqrt()[..., None, :]

    def draw(self, count: int, generator: Generator | None = None) -> Tensor:
        """Independent functions, [count, ..., k, C].

        Args:
            count: how many.
            generator: source of randomness; torch's global one if not given.
        """
        noise = torch.randn(count, *self.mean.shape, generator=generator, dtype=self.mean.dtype)
        # Side by side, [..., k, count·C]: one product for all functions; a batch of them would copy the root.
        columns = noise.to(self.mean.device).movedim(0, -2).flatten(-2)
        drawn = (self.root @ columns).unflatten(-1, (count, -1)).movedim(-2, 0)
        return self.mean + drawn


def as_covariance(matrix: Tensor, weights: Tensor, scale: float, unit: float) -> Tensor:
    r"""Make the result of a covariance formula symmetric, with no negative variance.

    A variance of the form v = k(x,x) − 2 b·k(x,X) + b·K b, with weights b and kernels that carry relative
    errors ε, is known up to about :math:`n\,\varepsilon \max|K|\,(1 + \lVert b \rVert_1)^2`. Negative numbers
    within that bound are rounding of a zero and become 0; what lies below it means that the kernels do not
    belong together.

    Args:
        matrix: [..., k, k].
        weights: b of every point, [..., k, n].
        scale: max|K|.
        unit: ε, the rounding unit of the type in which the kernels came.

    Raises:
        KernelError: if a variance is negative beyond rounding.
    """
    symmetric = (matrix + matrix.mT) / 2
    variance = symmetric.diagonal(dim1=-2, dim2=-1)
    rounding = 10 * weights.shape[-1] * unit * scale * (1 + weights.abs().sum(dim=-1)).square()
    if (variance < -rounding).any():
        raise KernelError(
            f"the predicted variance is negative ({float(variance.min()):.3g}, beyond rounding): the kernels do "
            "not belong together; take all of them from one network and one parametrization, each with rows and "
            "columns in the order of the same points"
        )
    variance.clamp_(min=0)  # a view of the diagonal
    return symmetric


def gaussian_wasserstein(first: Gaussian, second: Gaussian) -> Tensor:
    r"""Wasserstein-2 distance of two Gaussians over functions with C independent outputs at k points.

    .. math:: W_2^2 = \lVert m_1 - m_2 \rVert_F^2
              + C\,\mathrm{tr}\bigl(V_1 + V_2 - 2\,(V_1^{1/2} V_2 V_1^{1/2})^{1/2}\bigr)

    In the units of the outputs; divide by √(kC) for a distance a point. Unlike a Kullback-Leibler divergence it is
    finite for singular covariances. Source: Dowson, Landau 1982; Givens, Shortt 1984.

    Args:
        first: mean [..., k, C] and covariance [..., k, k].
        second: likewise.

    Returns:
        The distance, [...], of the leading dimensions; known up to √ε of the covariances' size.

    Raises:
        KernelError: if they are not over the same points and outputs.
    """
    if first.mean.shape[-2:] != second.mean.shape[-2:]:
        raise KernelError(
            "the Gaussians must be over the same points and outputs, got means of shape "
            f"{tuple(first.mean.shape)} and {tuple(second.mean.shape)}"
        )
    apart = (first.mean - second.mean).square().sum(dim=(-2, -1))
    spread = first.variance.sum(dim=-1) + second.variance.sum(dim=-1)
    shared = first.root.mT @ second.covariance @ first.root  # has the eigenvalues of V₁^½V₂V₁^½
    overlap = torch.linalg.eigvalsh((shared + shared.mT) / 2).clamp_min(0).sqrt().sum(dim=-1)
    return (apart + first.mean.shape[-1] * (spread - 2 * overlap)).clamp_min(0).sqrt()
