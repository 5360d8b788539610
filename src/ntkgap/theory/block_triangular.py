"""All tasks in one solve: sequential kernel regression is a block-triangular system, joint training the whole."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.matrices import array, gram_matrix
from ntkgap.linalg.rounding import check_solve
from ntkgap.linalg.solves import positive_factor
from ntkgap.theory.kernel_modes import STOP_EARLIER, Decay, KernelModes

ALL_TASKS = "the kernel of all tasks"


def sequential_duals(gram: Tensor, sizes: Sequence[int], residual: Tensor, decay: Decay | None = None) -> Tensor:
    r"""Duals α of learning tasks one after the other, each to convergence: :math:`L \alpha = y - f_0`.

    L holds the blocks of K on and below the diagonal; of training that stops, with factors d of its modes,
    :math:`K_{tt} (I - d(K_{tt}))^{-1}` takes the place of :math:`K_{tt}`. Then f_T = f_0 + K(·, X)α,
    and f_t is the same with α cut off behind task t: later tasks do not change what earlier ones have added.
    Equals ``SequentialRegression`` task by task (Bennani, Doan, Sugiyama 2020).

    Args:
        gram: K of all tasks' rows, [N, N]; rows are examples where outputs share a kernel, else (example, output).
        sizes: rows of every task, in order; N together.
        residual: y − f_0, [N, c].
        decay: factors of the modes of every task's block, [n], such as
            ``lambda modes: modes.gradient_descent_decay(rate, steps)``; without end if not given.

    Returns:
        α, [N, c], float64.

    Warns:
        AccuracyWarning: if the rounding of the kernel decides a task's duals.

    Raises:
        KernelError: if a shape does not fit, or a task's block is singular and training has no end.

    Example:
        >>> kernel = torch.eye(3, dtype=torch.float64) + 0.5
        >>> duals = ng.continual.sequential_duals(kernel, [2, 1], torch.ones(3, 1, dtype=torch.float64))
        >>> duals.shape
        torch.Size([3, 1])
    """
    precision = gram.dtype
    gram, residual, blocks = _checked(gram, sizes, residual)
    duals = torch.zeros_like(residual)
    for rows in blocks:
        # What the tasks before have made of the residual here.
        left = residual[rows] - gram[rows, : rows.start] @ duals[: rows.start]
        own, name = gram[rows, rows], "the kernel on a task's inputs"
        if decay is None:
            duals[rows] = positive_factor(own, name, STOP_EARLIER, precision).solve(left)
            check_solve(own, duals[rows], left, name, STOP_EARLIER, precision)
        else:
            modes = KernelModes(own.to(precision), name)
            factors, coefficients = decay(modes), modes.eigenvectors.T @ left
            modes.check_rounding(factors, coefficients, STOP_EARLIER)
            duals[rows] = modes.eigenvectors @ (modes.inverse_decay(factors)[:, None] * coefficients)
    return duals


def joint_duals(gram: Tensor, residual: Tensor) -> Tensor:
    """Duals α = K⁻¹(y − f_0) of learning all tasks at once, [N, c].

    Args:
        gram: K, [N, N].
        residual: y − f_0, [N, c].

    Warns:
        AccuracyWarning: if the rounding of the kernel decides them.

    Raises:
        KernelError: if a shape does not fit or K is singular.
    """
    precision = gram.dtype
    gram, residual, _ = _checked(gram, [len(gram)], residual)
    duals = positive_factor(gram, ALL_TASKS, STOP_EARLIER, precision).solve(residual)
    check_solve(gram, duals, residual, ALL_TASKS, STOP_EARLIER, precision)
    return duals


def forgotten_residuals(gram: Tensor, sizes: Sequence[int], duals: Tensor) -> Tensor:
    r"""What is left of y − f on the tasks' own inputs after all were learned without end.

    .. math:: y_s - f_T(X_s) = -\sum_{t > s} K_{st} \alpha_t

    Args:
        gram: K, [N, N].
        sizes: rows of every task, in order.
        duals: α of ``sequential_duals``, without ``decay``, [N, c].

    Returns:
        Residuals, [N, c]; zero on the last task.

    Raises:
        KernelError: if a shape does not fit.
    """
    gram, duals, blocks = _checked(gram, sizes, duals)
    return torch.cat([-(gram[rows, rows.stop :] @ duals[rows.stop :]) for rows in blocks])


def _checked(gram: Tensor, sizes: Sequence[int], right: Tensor) -> tuple[Tensor, Tensor, list[slice]]:
    gram = gram_matrix(gram, ALL_TASKS)
    if not sizes or any(size < 1 for size in sizes) or sum(sizes) != len(gram):
        raise KernelError(
            f"sizes must be positive and add up to the {len(gram)} rows of the kernel, got {list(sizes)}"
        )
    ends = torch.tensor(sizes).cumsum(0).tolist()
    blocks = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    return gram, array(right, "the residual", (len(gram), None)), blocks
