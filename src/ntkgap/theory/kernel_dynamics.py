"""Training curves that the kernel regime predicts, from a Gram matrix and the initial residual alone."""

import math
from typing import Any

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.matrices import array, check_gram, gram_matrix
from ntkgap.theory.function_space import FunctionSpaceTraining, train_in_function_space
from ntkgap.theory.kernel_modes import STOP_EARLIER, KernelModes


def critical_learning_rate(gram: Tensor, *, divisor: float = 1.0, momentum: float = 0.0) -> float:
    r"""Learning rate below which gradient descent on ‖f − y‖²/(2N) is stable.

    .. math:: \eta_{\mathrm{crit}} = \frac{2 (1 + \mu) N}{\kappa_{\max}}

    With momentum μ (the heavy ball of ``torch.optim.SGD``, θ ← θ − ηg + μ(θ − θ_before)) a mode's two factors
    solve z² − (1 + μ − ηκ)z + μ = 0; the first to leave the unit circle does so at z = −1, ηκ = 2(1 + μ).

    Args:
        gram: Gram matrix K, [nC, nC]; of a kernel that all outputs share [n, n] does.
        divisor: N of the loss: 1 for ½‖f − y‖², nC for ½ the mean over all entries, nC/2 for ``torch.nn.MSELoss``.
        momentum: μ, at least 0 and below 1.

    Raises:
        KernelError: if the matrix is not square, finite and symmetric, or has no positive eigenvalue, or a
            number is out of range.

    Example:
        >>> ng.theory.critical_learning_rate(torch.diag(torch.tensor([4.0, 1.0])))  # 2/κ_max
        0.5
    """
    if not 0 < divisor < math.inf:
        raise KernelError(f"divisor must be positive and finite, got {divisor!r}")
    if not 0 <= momentum < 1:
        raise KernelError(f"momentum must be at least 0 and below 1, got {momentum!r}")
    largest = float(torch.linalg.eigvalsh(gram_matrix(gram, "the Gram matrix"))[-1])
    if largest <= 0:
        raise KernelError("the Gram matrix has no positive eigenvalue: no learning rate moves the outputs")
    return 2 * (1 + momentum) * divisor / largest


class KernelDynamics(KernelModes):
    r"""How training proceeds if the kernel K stays as it is at initialization.

    Each optimizer shrinks the residual's component along the eigenvector u_i by a factor d_t(κ_i), see
    ``KernelModes``, so that

    .. math:: L_t = \tfrac12 \sum_i d_t(\kappa_i)^2 (u_i^\top r_0)^2, \qquad
              f_t(x) = f_0(x) - K(x, X) K^{-1} (I - d_t(K))\, r_0 .

    All for the loss ½‖f − y‖², summed over examples and outputs (Lee et al. 2019, section 2; for natural
    gradient Zhang, Martens, Grosse 2019, section 3). Other losses and optimizers have no such form; ``train``
    follows them step by step.

    Args:
        gram: Gram matrix K of the training examples at initialization, [nC, nC], in the layout of ``as_matrix``.
        residual: r_0 = f_0(X) − y, [n, C].

    Raises:
        KernelError: if the matrix is not square, finite and symmetric or does not match the residual.

    Example:
        >>> gram = torch.diag(torch.tensor([1.0, 0.1], dtype=torch.float64))
        >>> dynamics = ng.KernelDynamics(gram, torch.ones(2, 1, dtype=torch.float64))  # residual f₀ − y
        >>> decay = dynamics.gradient_flow_decay(torch.tensor([0.0, 10.0], dtype=torch.float64))
        >>> [round(loss, 4) for loss in dynamics.losses(decay).tolist()]
        [1.0, 0.0677]
    """

    def __init__(self, gram: Tensor, residual: Tensor) -> None:
        check_gram(gram)
        if residual.numel() != len(gram):
            raise KernelError(
                f"a residual of shape {tuple(residual.shape)} needs a Gram matrix of {residual.numel()} rows, "
                f"got {len(gram)}"
            )
        super().__init__(gram)
        self.residual = residual
        self.coefficients = self.eigenvectors.T @ residual.reshape(-1).double()

    def losses(self, decay: Tensor) -> Tensor:
        """½‖r_t‖² for the factors of one of the ``…_decay`` methods, [..., nC] -> [...].

        Warns:
            AccuracyWarning: if the rounding of K decides what is left of the residual.
        """
        self.check_decay(decay)
        self.check_rounding(decay, self.coefficients[:, None], STOP_EARLIER)
        return 0.5 * (decay * self.coefficients).square().sum(dim=-1)

    def train(self, targets: Tensor, **settings: Any) -> FunctionSpaceTraining:
        """Training that no closed form describes: any loss, momentum, weight decay, minibatches, schedules.

        From f_0 = r_0 + y, by ``train_in_function_space``, which takes kernels that outputs share and many initial
        functions too. Plain gradient descent on the squared loss is ``gradient_descent_decay``, step by step.

        Args:
            targets: y, [n, C].
            settings: ``learning_rate``, ``steps``, ``loss`` and the others of ``train_in_function_space``.

        Raises:
            DivergenceError: if outputs or loss leave the finite numbers.
            KernelError: if the targets have another shape than the residual, or a setting does not fit.
        """
        if targets.shape != self.residual.shape:
            raise KernelError(
                f"the targets must have the shape of the residual, {tuple(self.residual.shape)}, got "
                f"{tuple(targets.shape)}"
            )
        start = self.residual.double() + targets.double()
        return train_in_function_space(self._gram, start, targets, **settings)

    def predictions(self, decay: Tensor, cross_gram: Tensor, initial: Tensor) -> Tensor:
        """f_t on new points, [..., k, C].

        Args:
            decay: factors of one of the ``…_decay`` methods, [..., nC].
            cross_gram: K(x, X) of the new points with the training examples, [kC, nC].
            initial: f_0 on the new points, [k, C].

        Warns:
            AccuracyWarning: if the rounding of the kernels decides the outputs.

        Raises:
            KernelError: if a shape does not fit or an entry is not finite.
        """
        initial = array(initial, "the initial function on the new points", (None, None))
        cross = array(cross_gram, "the cross kernel", (initial.numel(), len(self.eigenvalues)))
        self.check_rounding(decay, self.coefficients[:, None], STOP_EARLIER, cross_gram)
        dual = (self.inverse_decay(decay) * self.coefficients) @ self.eigenvectors.T  # [..., nC]
        return initial - (dual @ cross.T).unflatten(-1, initial.shape)
