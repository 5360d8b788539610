"""Kernel regression on one task after the other: what is learned, and what it does to what was learned before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.matrices import array, indices
from ntkgap.one_line import line_of, one_line
from ntkgap.theory.kernel_modes import STOP_EARLIER, Decay, KernelModes


@dataclass(frozen=True)
class AppliedKernel:
    """K(x, X) of all pairs of outputs that is multiplied with weights and never formed.

    Attributes:
        gram: K(X, X), [n, n, c, c].
        product: weights of the training outputs, [..., n, c] -> K(x, X) times them at k points, [..., k, C].
    """

    gram: Tensor
    product: Callable[[Tensor], Tensor]

    __repr__ = one_line


class SequentialRegression:
    r"""A function on k points that learns tasks one after the other, with kernels that do not move meanwhile.

    Learning the task (X_t, y_t) moves it, wherever it is, by

    .. math:: f_t(x) = f_{t-1}(x) - K(x, X_t) K_{tt}^{-1} (I - d(K_{tt})) (f_{t-1}(X_t) - y_t)

    with the factors d of ``KernelModes``: 0 for training without end (Bennani, Doan, Sugiyama 2020),
    (1 − ηκ)^τ for τ steps of gradient descent on ½‖f − y‖², e^{−κτ} for gradient flow.

    Args:
        initial: f_0 at the k points, which hold the inputs of all tasks and whatever else is of interest, [k, C];
            or of several functions, [..., k, C], such as one a training budget.

    Attributes:
        function: f at the points by now, [..., k, C], float64.

    Raises:
        KernelError: if it is no array of finite numbers of that shape.

    Example:
        >>> kernel = torch.eye(3, dtype=torch.float64) + 0.5  # of three points
        >>> function = ng.continual.SequentialRegression(torch.zeros(3, 1, dtype=torch.float64))
        >>> for points, target in ([0], 1.0), ([1], -1.0):
        ...     _ = function.learn(kernel[:, points], points, torch.tensor([[target]], dtype=torch.float64))
        ...
        >>> [round(value, 3) for value in function.function[:, 0].tolist()]
        [0.556, -1.0, -0.111]
    """

    def __init__(self, initial: Tensor) -> None:
        if initial.ndim < 2 or initial.numel() == 0 or not initial.is_floating_point():
            raise KernelError(
                f"the initial function must hold floating-point numbers of shape (..., k, C), got {initial.dtype} "
                f"of shape {tuple(initial.shape)}"
            )
        if not torch.isfinite(initial).all():
            raise KernelError("the initial function has NaN or infinite entries")
        self.function = initial.double()

    def __repr__(self) -> str:
        return line_of(self, function=self.function)

    def learn(
        self,
        kernel: Tensor | AppliedKernel,
        at: Tensor | Sequence[int],
        targets: Tensor,
        *,
        columns: Sequence[int] | None = None,
        decay: Decay = KernelModes.converged_decay,
        modes: KernelModes | None = None,
    ) -> "SequentialRegression":
        """Learn a task; ``function`` is afterwards what it is then, and not finite where training diverged.

        Args:
            kernel: K(points, X_t): [k, n] where outputs share one kernel, or of all pairs of outputs
                [k, n, C, c], its last axis the task's columns; or one of the latter that is never formed.
            at: which n of the points are X_t, their indices.
            targets: y_t, [n, c].
            columns: which c outputs the task is about, each once; all if not given.
            decay: factors d of the modes, [n·c or n], or [..., n·c or n] for several training budgets: of as many
                functions each has its own, and of one function there are as many afterwards.
            modes: those of K(X_t, X_t), where they are at hand.

        Returns:
            Itself.

        Warns:
            AccuracyWarning: if the rounding of the kernel decides what is learned of a task.

        Raises:
            KernelError: if a shape does not fit, an entry is not finite, or the kernel is no Gram matrix on X_t.
        """
        points, outputs = self.function.shape[-2:]
        columns = list(range(outputs)) if columns is None else list(columns)
        at = indices(at, points, "`at`, the points that are a task's inputs,")
        n, c = len(at), len(columns)
        if n == 0:
            raise KernelError("`at` must name at least one of the points: a task has inputs")
        if not columns or min(columns) < 0 or max(columns) >= outputs or len(set(columns)) < c:
            raise KernelError(f"the function has {outputs} outputs; a task cannot be about the columns {columns}")
        targets = array(targets, "the targets of a task", (n, c))
        applied = kernel if isinstance(kernel, AppliedKernel) else None
        known = kernel.gram if isinstance(kernel, AppliedKernel) else kernel
        full = known.ndim == 4
        if applied is not None and known.shape != (n, n, c, c):
            raise KernelError(f"K(X_t, X_t) must have shape {(n, n, c, c)}, got {tuple(known.shape)}")
        if applied is None and known.shape != ((points, n, outputs, c) if full else (points, n)):
            raise KernelError(
                f"K(points, X_t) must have shape {(points, n)}, or {(points, n, outputs, c)} of all pairs of "
                f"outputs, got {tuple(known.shape)}"
            )
        if not torch.isfinite(known).all():
            raise KernelError("K(points, X_t) has NaN or infinite entries")
        if modes is None:
            gram = known if applied is not None else known[at]
            if full:
                gram = _matrix(gram if applied is not None else gram[:, :, columns])
            modes = KernelModes(gram, "the kernel on a task's inputs")
        elif len(modes.eigenvalues) != (n * c if full else n):
            raise KernelError(
                f"the modes are of {len(modes.eigenvalues)} rows, the task has {n * c if full else n}"
            )

        residual = self.function[..., at, :][..., columns] - targets  # [..., n, c]
        factors, vectors = decay(modes), modes.eigenvectors
        gain = modes.inverse_decay(factors)
        try:
            batch = torch.broadcast_shapes(gain.shape[:-1], residual.shape[:-2])
        except RuntimeError:
            raise KernelError(
                f"decay factors of shape {tuple(gain.shape)} are for other training budgets than the functions, "
                f"of shape {tuple(self.function.shape)}"
            ) from None
        right = residual.flatten(-2)[..., None] if full else residual  # [..., nc, 1] or [..., n, c]
        coefficients = vectors.T @ right
        modes.check_rounding(factors, coefficients, STOP_EARLIER, known)
        dual = vectors @ (gain[..., None] * coefficients)
        if full:
            dual = dual[..., 0].unflatten(-1, (n, c))
            moved = _product(known.double(), dual) if applied is None else applied.product(dual)
            self.function = self.function - moved
        else:
            # What other columns hold is kept as it is, bit for bit, even where this task's training diverges.
            function = self.function.expand(*batch, -1, -1).clone()
            function[..., columns] -= known.double() @ dual
            self.function = function
        return self


def _matrix(gram: Tensor) -> Tensor:
    """K(X_t, X_t) of all pairs of outputs, [n, n, c, c], as a matrix, [nc, nc]."""
    n, _, c, _ = gram.shape
    return gram.permute(0, 2, 1, 3).reshape(n * c, n * c)


def _product(kernel: Tensor, dual: Tensor) -> Tensor:
    """Σ K[k, n, a, b] dual[..., n, b], [..., k, a]."""
    return torch.einsum("knab,...nb->...ka", kernel, dual)
