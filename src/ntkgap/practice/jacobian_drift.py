"""How far the Jacobian has moved from its initial value."""

import math

import torch
from torch import Tensor


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
