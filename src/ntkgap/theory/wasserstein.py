"""How far apart two Gaussians are: what it costs to carry the one into the other."""

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.theory.gaussian import Gaussian


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
