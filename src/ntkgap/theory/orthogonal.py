"""Orthogonal gradient descent in the kernel regime: features of later tasks lose what earlier tasks span."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.matrices import array, gram_matrix, indices
from ntkgap.theory.kernel_modes import KernelModes


def project_out(kernel: Tensor, stored: Tensor | Sequence[int]) -> Tensor:
    r"""The kernel of features projected off those of stored points.

    .. math:: \tilde K(x, x') = K(x, x') - K(x, X_<) K(X_<, X_<)^{+} K(X_<, x')

    Orthogonal gradient descent (Farajtabar et al. 2020) on a network whose kernel does not move learns a task with
    this kernel, X_< the points whose output gradients are stored: nothing is forgotten there (Bennani, Doan,
    Sugiyama 2020). At convergence the function is that of joint training: what tasks add lies in orthogonal parts
    of what all features span, and there only one function fits them all.

    Args:
        kernel: K of all points with themselves, [k, k].
        stored: indices of X_<, [m]; with none of them the kernel is as it was.

    Returns:
        K̃, [k, k], float64; zero in the rows of stored points, and of others whose features those span.

    Raises:
        KernelError: if the kernel is not square, finite and symmetric, or an index does not exist.
    """
    gram = gram_matrix(kernel, "the kernel of all points")
    stored = indices(stored, len(gram), "stored points")
    if stored.numel() == 0:
        return gram
    # In the type it came in, which says below what its eigenvalues mean nothing.
    modes = KernelModes(gram[stored][:, stored].to(kernel.dtype), "the kernel of stored points")
    kappa, vectors = modes.eigenvalues[modes.resolved], modes.eigenvectors[:, modes.resolved]
    half = (gram[:, stored] @ vectors) / kappa.sqrt()
    projected = gram - half @ half.T
    # What is left of stored points is rounding, and of points like them (an example that comes again): learning
    # would divide by it.
    left, rounding = projected.diagonal(), len(gram) * torch.finfo(kernel.dtype).eps * gram.diagonal().max()
    spanned = left <= rounding
    spanned[stored] = True
    projected[spanned] = 0.0
    projected[:, spanned] = 0.0
    return projected


def task_overlap(grams: list[list[Tensor]]) -> Tensor:
    r"""How far tasks share features.

    .. math:: \frac{\lVert K_{st} \rVert_F}{\sqrt{\lVert K_{ss} \rVert_F \lVert K_{tt} \rVert_F}}

    0 where no feature of one task is one of the other, 1 for a task with itself; K_st is where the change that
    learning task t makes to task s comes from. With the singular values σ and right singular vectors V of both
    tasks' features it is the overlap matrix :math:`V_s^\top V_t` of Doan et al. (2021), weighted:

    .. math:: \lVert K_{st} \rVert_F^2 = \sum_{ij} \sigma_{si}^2 \sigma_{tj}^2 (V_s^\top V_t)_{ij}^2

    Args:
        grams: K(X_s, X_t) of every pair of tasks, T lists of T matrices.

    Returns:
        [T, T], symmetric where the kernel is.

    Raises:
        KernelError: if they are no T × T matrices, of shape [n_s, n_t], or a task's own kernel is zero.

    Example:
        >>> own, shared = torch.eye(2), torch.zeros(2, 2)
        >>> ng.continual.task_overlap([[own, shared], [shared, own]]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if not grams or any(len(row) != len(grams) for row in grams):
        raise KernelError("kernels of T tasks must be T lists of T matrices")
    tasks = range(len(grams))
    sizes = [len(gram_matrix(grams[t][t], f"the kernel of task {t} with itself")) for t in tasks]
    norms = torch.zeros(len(grams), len(grams), dtype=torch.float64)
    for s in tasks:
        for t in tasks:
            kernel = array(grams[s][t], f"the kernel of tasks {s} and {t}", (sizes[s], sizes[t]))
            norms[s, t] = kernel.square().sum().sqrt()
    own = norms.diagonal()
    if (own == 0).any():
        raise KernelError(f"the kernel of task {int((own == 0).nonzero()[0])} with itself is zero")
    return norms / (own[:, None] * own[None, :]).sqrt()


def forgetting_by_overlap(cross: Tensor, duals: Tensor) -> float:
    r"""‖K_st α_t‖²: by how much learning task t moves the function on task s, in squares (Doan et al. 2021).

    Args:
        cross: K(X_s, X_t), [n_s, n_t].
        duals: α_t of ``sequential_duals``, [n_t, c].

    Raises:
        KernelError: if a shape does not fit or an entry is not finite.
    """
    cross = array(cross, "the kernel of two tasks", (None, None))
    duals = array(duals, "the duals of a task", (cross.shape[1], None))
    return float((cross @ duals).square().sum())
