"""The eigenmodes of a kernel, and how each optimizer shrinks the residual along them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.matrices import coarsest_type, gram_matrix
from ntkgap.linalg.rounding import warn_of_targets
from ntkgap.linalg.spectrum import eigenpairs
from ntkgap.one_line import line_of

# A spectrum that breaks off by this factor above the noise floor is that of a kernel of lower rank.
BREAK = 1e3

STOP_EARLIER = "stop training earlier"  # what helps wherever training may stop


class KernelModes:
    r"""Eigenpairs (κ_i, u_i) of a Gram matrix K, and the factors d_t(κ) by which training shrinks each.

    ================  ============================================
    gradient descent  d_t(κ) = (1 − ηκ)^t
    gradient flow     d_t(κ) = exp(−κt)
    natural gradient  d_t(κ) = (1 − ηκ/(κ + λ))^t
    converged         d_∞(κ) = 0, and 1 where κ is below the noise floor n·ε·κ_max
    ================  ============================================

    All for the loss ½‖f − y‖², **summed** over examples and outputs. A loss divided by N (N = nC for
    ½ times the mean over all entries; N = nC/2 for ``torch.nn.MSELoss``) with learning rate η is the summed one
    with learning rate η/N, or gradient flow until the time ηt/N.

    Args:
        gram: Gram matrix K of the training examples, [n, n]; of a kernel over several outputs the layout of
            ``as_matrix``, [nC, nC]. Computed with in float64, whatever it comes in.
        name: what messages call the matrix.

    Attributes:
        eigenvalues: κ ascending, [n], those that rounding made negative set to 0.
        eigenvectors: u_i in the columns, [n, n].
        resolved: which eigenvalues are above the noise floor of the type that ``gram`` came in, [n].
        noise_floor: φ, how far rounding moves the matrix (``linalg.rounding``).

    Times and steps may be numbers or tensors of any shape [...]; factors have shape [..., n].

    Raises:
        KernelError: if the matrix is not square, finite and symmetric; by the methods, if a time, step or
            learning rate is out of range.
    """

    def __init__(self, gram: Tensor, name: str = "the Gram matrix") -> None:
        found = eigenpairs(gram_matrix(gram, name), gram.dtype, name)
        self.eigenvalues, self.eigenvectors, self.noise_floor = found
        self._gram, self._name = gram, name
        self.resolved = self.eigenvalues > len(gram) * torch.finfo(gram.dtype).eps * self.eigenvalues[-1]

    def __repr__(self) -> str:
        resolved = int(self.resolved.sum())
        largest = float(self.eigenvalues[-1])
        return line_of(self, f"{len(self.eigenvalues)} modes", resolved=resolved, largest_eigenvalue=largest)

    def gradient_descent_decay(self, learning_rate: float, steps: Tensor | int) -> Tensor:
        """(1 − ηκ_i)^t for every step t of ``steps`` [...] and every mode: [..., n]."""
        return (1 - _positive(learning_rate) * self.eigenvalues) ** self._steps(steps)

    def gradient_flow_decay(self, times: Tensor | float) -> Tensor:
        """exp(−κ_i t) for every time t of ``times`` [...] and every mode: [..., n]."""
        t = torch.as_tensor(times, dtype=torch.float64, device=self.eigenvalues.device)[..., None]
        if not (torch.isfinite(t) & (t >= 0)).all():
            raise KernelError("times must be finite and at least 0; for t → ∞ use converged_decay()")
        return torch.exp(-t * self.eigenvalues)

    def natural_gradient_decay(self, learning_rate: float, steps: Tensor | int, damping: float = 0.0) -> Tensor:
        """(1 − ηκ_i/(κ_i + λ))^t for every step t of ``steps`` [...] and every mode: [..., n]."""
        if not 0 <= damping < math.inf:
            raise KernelError(f"damping must be finite and at least 0, got {damping!r}")
        kappa = self.eigenvalues
        moved = torch.where(kappa > 0, kappa / (kappa + damping), torch.zeros_like(kappa))
        return (1 - _positive(learning_rate) * moved) ** self._steps(steps)

    def converged_decay(self, learning_rate: float | None = None) -> Tensor:
        """Limits of d_t(κ_i) for t → ∞, [n]: nothing is left but along modes that arithmetic cannot resolve.

        Args:
            learning_rate: of gradient descent; not needed for gradient flow, which always converges.

        Raises:
            KernelError: if gradient descent with this learning rate does not converge.
        """
        if learning_rate is not None and _positive(learning_rate) * self.eigenvalues[-1] >= 2:
            raise KernelError(
                f"gradient descent with learning rate {learning_rate:g} does not converge: the rate must be "
                f"below 2/κ_max = {2 / float(self.eigenvalues[-1]):.6g}"
            )
        return (~self.resolved).double()

    def inverse_decay(self, decay: Tensor) -> Tensor:
        """(1 − d_t(κ_i))/κ_i, [..., n] -> [..., n]: what carries the training residual to new points.

        Modes without resolvable eigenvalue do not reach new points: K(x, X) is orthogonal to them.
        """
        self.check_decay(decay)
        kappa = torch.where(self.resolved, self.eigenvalues, torch.ones_like(self.eigenvalues))
        return torch.where(self.resolved, (1 - decay) / kappa, 0.0)

    def noise_response(self, decay: Tensor, floor: float | None = None) -> Tensor:
        r"""How much rounding changes what is learned along each mode, as a fraction of the residual, [..., n].

        φ·g(κ_i) with the gain g(κ) = (1 − d(κ))/κ that makes dual weights of the residual. What lies below the
        floor may be anything up to it. So there it is φ·g(φ) = 1 − d(φ), which lies between the factors of the
        modes next to the floor, and is taken as 1 − d(κ)^(φ/κ) of the one below: exact for gradient flow.

        Where the spectrum breaks off above the floor (its smallest resolved eigenvalue is ``BREAK`` times as
        large) the kernel counts as one of lower rank: what is left is zero, and never learned.

        Args:
            decay: factors of one of the ``…_decay`` methods, [..., n].
            floor: φ, if more than the matrix alone has: of kernels with other points.
        """
        response = (floor or self.noise_floor) * self.inverse_decay(decay)
        below = int((~self.resolved).sum())
        if 0 < below < len(self.resolved) and self.eigenvalues[below] < BREAK * self.noise_floor:
            under, over = decay[..., below - 1].clamp(0, 1), decay[..., below].clamp(0, 1)
            learned, kappa = 1 - over, float(self.eigenvalues[below - 1])
            if kappa > 0:
                endless = (under == 1) & (over == 0)  # the limit, which leaves out what is not resolved
                learned = learned.minimum(1 - under ** (self.noise_floor / kappa)).where(~endless, learned)
            response[..., :below] = learned[..., None]
        return response.where(decay.abs() <= 1, 0.0)  # elsewhere training diverges, whatever the rounding

    def check_rounding(self, decay: Tensor, coefficients: Tensor, remedy: str, *others: Tensor) -> None:
        """Warn where rounding decides what is learned.

        Args:
            decay: factors of one of the ``…_decay`` methods, [..., n].
            coefficients: uᵢᵀr of the residual that is learned, [..., n, C].
            remedy: what the caller can do besides computing the kernel in float64.
            others: kernels with other points, which may have come in a coarser type.

        Warns:
            AccuracyWarning: if it can do as much as a change of the targets by a tenth.
        """
        coarsest = coarsest_type([self._gram, *others])
        rounding = len(self.resolved) * torch.finfo(coarsest).eps * float(self.eigenvalues[-1])
        floor = max(rounding, self.noise_floor)
        size = coefficients.square().sum(dim=-2).clamp_min(1e-300)
        changed = (self.noise_response(decay, floor)[..., None] * coefficients).square().sum(dim=-2) / size
        effect = float(changed.nan_to_num(0.0).max()) ** 0.5
        warn_of_targets(effect, floor, self._gram, self._name, remedy, coarsest)

    def check_decay(self, decay: Tensor) -> None:
        """Refuse factors that are not of this kernel's modes.

        Raises:
            KernelError: naming the shape they must have.
        """
        n = len(self.eigenvalues)
        if decay.ndim == 0 or decay.shape[-1] != n:
            raise KernelError(
                f"decay must hold the factors of one of the …_decay methods, shape (..., {n}), one for each "
                f"mode, got {tuple(decay.shape)}"
            )

    def _steps(self, steps: Tensor | int) -> Tensor:
        t = torch.as_tensor(steps, device=self.eigenvalues.device)[..., None]
        if not ((t >= 0) & (t == t.round()) & torch.isfinite(t)).all():
            raise KernelError("steps must be whole numbers of at least 0; for t → ∞ use converged_decay()")
        return t


Decay = Callable[[KernelModes], Tensor]
"""How long a kernel is learned with: the factors d of its modes, [..., n]."""


def _positive(learning_rate: float) -> float:
    if not 0 < learning_rate < math.inf:
        raise KernelError(f"learning_rate must be positive and finite, got {learning_rate!r}")
    return learning_rate
