"""Training curves that the kernel regime predicts, from a Gram matrix and the initial residual alone."""

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels.spectrum import check_gram


def critical_learning_rate(gram: Tensor) -> float:
    r"""Largest stable learning rate of gradient descent on ½‖f − y‖²: :math:`2/\kappa_{\max}`.

    Args:
        gram: Gram matrix K, [nC, nC].

    Raises:
        KernelError: if the matrix is not square and finite, or has no positive eigenvalue.
    """
    largest = float(torch.linalg.eigvalsh(check_gram(gram))[-1])
    if largest <= 0:
        raise KernelError("the Gram matrix has no positive eigenvalue: no learning rate moves the outputs")
    return 2 / largest


class KernelDynamics:
    r"""How training proceeds if the kernel K stays as it is at initialisation.

    With the eigenpairs (κ_i, u_i) of K, each optimiser shrinks the residual's component along u_i by a
    factor d_t(κ_i) of its own, so that

    .. math:: L_t = \tfrac12 \sum_i d_t(\kappa_i)^2 (u_i^\top r_0)^2, \qquad
              f_t(x) = f_0(x) - K(x, X) K^{-1} (I - d_t(K))\, r_0 .

    ================  ============================================
    gradient descent  d_t(κ) = (1 − ηκ)^t
    gradient flow     d_t(κ) = exp(−κt)
    natural gradient  d_t(κ) = (1 − ηκ/(κ + λ))^t
    ================  ============================================

    All for the loss ½‖f − y‖², summed over examples and outputs (Lee et al. 2019, section 2; for natural
    gradient Zhang, Martens, Grosse 2019, section 3).

    Args:
        gram: Gram matrix K of the training examples at initialisation, [nC, nC], in the layout of ``as_matrix``.
        residual: r_0 = f_0(X) − y, [n, C].

    Raises:
        KernelError: if the matrix is not square and finite or does not match the residual.
    """

    def __init__(self, gram: Tensor, residual: Tensor) -> None:
        check_gram(gram)
        if residual.numel() != len(gram):
            raise KernelError(
                f"a residual of shape {tuple(residual.shape)} needs a Gram matrix of {residual.numel()} rows, "
                f"got {len(gram)}"
            )
        eigenvalues, self.eigenvectors = torch.linalg.eigh((gram + gram.T) / 2)
        self.eigenvalues = eigenvalues.clamp_min(0)  # a Gram matrix has none below zero: that is rounding
        self.coefficients = self.eigenvectors.T @ residual.reshape(-1).to(gram.dtype)

    def gradient_descent_decay(self, learning_rate: float, steps: Tensor) -> Tensor:
        """(1 − ηκ_i)^t for every step t of ``steps`` [T] and every mode: [T, nC]."""
        return (1 - learning_rate * self.eigenvalues) ** steps[:, None]

    def gradient_flow_decay(self, times: Tensor) -> Tensor:
        """exp(−κ_i t) for every time t of ``times`` [T] and every mode: [T, nC]."""
        return torch.exp(-times[:, None].to(self.eigenvalues.dtype) * self.eigenvalues)

    def natural_gradient_decay(self, learning_rate: float, steps: Tensor, damping: float = 0.0) -> Tensor:
        """(1 − ηκ_i/(κ_i + λ))^t for every step t of ``steps`` [T] and every mode: [T, nC]."""
        kappa = self.eigenvalues
        moved = torch.where(kappa > 0, kappa / (kappa + damping), torch.zeros_like(kappa))
        return (1 - learning_rate * moved) ** steps[:, None]

    def losses(self, decay: Tensor) -> Tensor:
        """½‖r_t‖² for the factors of one of the ``…_decay`` methods, [T, nC] -> [T]."""
        return 0.5 * (decay * self.coefficients).square().sum(dim=1)

    def predictions(self, decay: Tensor, cross_gram: Tensor, initial: Tensor) -> Tensor:
        """f_t on new points, [T, k, C].

        Args:
            decay: factors of one of the ``…_decay`` methods, [T, nC].
            cross_gram: K(x, X) of the new points with the training examples, [kC, nC].
            initial: f_0 on the new points, [k, C].
        """
        kappa = self.eigenvalues
        resolved = kappa > len(kappa) * torch.finfo(kappa.dtype).eps * kappa[-1]
        # Modes without resolvable eigenvalue do not reach new points either: K(x, X) is orthogonal to them.
        inverse = torch.where(resolved, 1 / torch.where(resolved, kappa, torch.ones_like(kappa)), 0.0)
        dual = (inverse * (1 - decay) * self.coefficients) @ self.eigenvectors.T  # [T, nC]
        return initial - (dual @ cross_gram.T).reshape(-1, *initial.shape)
