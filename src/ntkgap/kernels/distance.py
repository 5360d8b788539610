"""How far two kernels or Jacobians are apart, and how well a kernel fits the targets."""

import math

import torch
from torch import Tensor

from ntkgap.errors import KernelError


def _check_pair(kernel: Tensor, reference: Tensor) -> None:
    if kernel.shape != reference.shape:
        raise KernelError(
            f"kernels of shapes {tuple(kernel.shape)} and {tuple(reference.shape)} cannot be compared; "
            "evaluate both on the same inputs with the same outputs= option"
        )
    if not reference.any() or not kernel.any():
        raise KernelError("one of the kernels is zero; the distance from it is not defined")


def kernel_distance(kernel: Tensor, reference: Tensor) -> float:
    r"""Distance of two kernels that ignores their scale, between 0 and 1 for Gram matrices.

    .. math:: 1 - \frac{\langle K, K' \rangle_F}{\lVert K \rVert_F \lVert K' \rVert_F}

    Source: Fort et al. 2020, *Deep learning versus kernel learning*.

    Raises:
        KernelError: if the shapes differ.

    Example:
        >>> eye = torch.eye(2)
        >>> round(ng.kernel_distance(eye, torch.ones(2, 2)), 3), ng.kernel_distance(eye, 7 * eye)
        (0.293, 0.0)
    """
    _check_pair(kernel, reference)
    # |u − v|²/2 of the normalized kernels is the same number without the cancellation in 1 − cos.
    u, v = kernel / torch.linalg.vector_norm(kernel), reference / torch.linalg.vector_norm(reference)
    return float((u - v).square().sum() / 2)


def relative_change(kernel: Tensor, reference: Tensor) -> float:
    r"""How far a kernel has moved: :math:`\lVert K - K_0 \rVert_F / \lVert K_0 \rVert_F`.

    Raises:
        KernelError: if the shapes differ.

    Example:
        >>> ng.kernels.relative_change(1.5 * torch.eye(2), torch.eye(2))
        0.5
    """
    _check_pair(kernel, reference)
    return float(torch.linalg.vector_norm(kernel - reference) / torch.linalg.vector_norm(reference))


def target_alignment(gram: Tensor, y: Tensor) -> float:
    r"""Alignment of a Gram matrix with the targets: :math:`y^\top K y / (\lVert K \rVert_F \lVert y \rVert^2)`.

    Args:
        gram: [nC, nC] in the layout of ``as_matrix``.
        y: targets, [n, C].

    Raises:
        KernelError: if the targets do not match the matrix.

    Example:
        >>> y = torch.tensor([[1.0], [-1.0]])
        >>> ng.kernels.target_alignment(y @ y.T, y)
        1.0
    """
    v = y.reshape(-1).to(gram.dtype)
    if gram.shape != (len(v), len(v)):
        raise KernelError(
            f"targets of shape {tuple(y.shape)} need a Gram matrix of {len(v)} rows, got shape {tuple(gram.shape)}"
        )
    return float(v @ gram @ v / (torch.linalg.vector_norm(gram) * v.square().sum()))


def jacobian_change(gram: Tensor, cross_gram: Tensor, initial_gram: Tensor) -> float:
    r"""Spectral norm :math:`\lVert J(\theta) - J(\theta_0) \rVert_2` from three Gram matrices.

    .. math:: \lVert J - J_0 \rVert_2^2 = \lambda_{\max}(J J^\top + J_0 J_0^\top - J J_0^\top - J_0 J^\top)

    The subtraction cancels: with float64 Gram matrices the result is reliable down to about
    √(nε) ≈ 1e-7 of ‖J_0‖₂, far below any change that matters here; float32 would not do.

    Args:
        gram: J Jᵀ, [nC, nC], float64.
        cross_gram: J J_0ᵀ, [nC, nC].
        initial_gram: J_0 J_0ᵀ, [nC, nC].
    """
    difference = gram + initial_gram - cross_gram - cross_gram.T
    return math.sqrt(max(0.0, torch.linalg.eigvalsh(difference)[-1].item()))
