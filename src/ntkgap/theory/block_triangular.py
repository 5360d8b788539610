"""All tasks in one solve: sequential kernel regression is a block-triangular system, joint training the whole."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.theory.matrices import array, gram_matrix
from ntkgap.theory.solves import positive_factor

REMEDY = "leave out inputs that are there twice, or stop training early"


def sequential_duals(gram: Tensor, sizes: Sequence[int], residual: Tensor) -> Tensor:
    r"""Duals α of learning tasks one after the other, each to convergence: :math:`L \alpha = y - f_0`.

    L holds the blocks of K on and below the diagonal. Then f_T = f_0 + K(·, X)α, and f_t is the same with α cut
    off behind task t: later tasks do not change what earlier ones have added. Equals ``SequentialRegression``
    task by task (Bennani, Doan, Sugiyama 2020, section 4).

    Args:
        gram: K of all tasks' rows, [N, N]; rows are examples where outputs share a kernel, else (example, output).
        sizes: rows of every task, in order; N together.
        residual: y − f_0, [N, c].

    Returns:
        α, [N, c], float64.

    Raises:
        KernelError: if a shape does not fit or a task's block is singular.
    """
    gram, residual, blocks = _checked(gram, sizes, residual)
    duals = torch.zeros_like(residual)
    for rows in blocks:
        # What the tasks before have made of the residual here.
        left = residual[rows] - gram[rows, : rows.start] @ duals[: rows.start]
        factor = positive_factor(gram[rows, rows], "the kernel on a task's inputs", REMEDY)
        duals[rows] = factor.solve(left)
    return duals


def joint_duals(gram: Tensor, residual: Tensor) -> Tensor:
    """Duals α = K⁻¹(y − f_0) of learning all tasks at once, [N, c].

    Args:
        gram: K, [N, N].
        residual: y − f_0, [N, c].

    Raises:
        KernelError: if a shape does not fit or K is singular.
    """
    gram, residual, _ = _checked(gram, [len(gram)], residual)
    return positive_factor(gram, "the kernel of all tasks", REMEDY).solve(residual)


def forgotten_residuals(gram: Tensor, sizes: Sequence[int], duals: Tensor) -> Tensor:
    r"""Y − f_T on the tasks' own inputs after all were learned: :math:`-\sum_{t > s} K_{st} \alpha_t` on task s.

    Args:
        gram: K, [N, N].
        sizes: rows of every task, in order.
        duals: α of ``sequential_duals``, [N, c].

    Returns:
        Residuals, [N, c]; zero on the last task.
    """
    gram, duals, blocks = _checked(gram, sizes, duals)
    return torch.cat([-(gram[rows, rows.stop :] @ duals[rows.stop :]) for rows in blocks])


def _checked(gram: Tensor, sizes: Sequence[int], right: Tensor) -> tuple[Tensor, Tensor, list[slice]]:
    gram = gram_matrix(gram, "the kernel of all tasks")
    if not sizes or any(size < 1 for size in sizes) or sum(sizes) != len(gram):
        raise KernelError(
            f"sizes must be positive and add up to the {len(gram)} rows of the kernel, got {list(sizes)}"
        )
    ends = torch.tensor(sizes).cumsum(0).tolist()
    blocks = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    return gram, array(right, "the residual", (len(gram), None)), blocks
