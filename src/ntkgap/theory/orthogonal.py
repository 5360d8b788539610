"""Orthogonal gradient descent in the kernel regime: features of later tasks lose what earlier tasks span."""

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.theory.matrices import array, gram_matrix
from ntkgap.theory.modes import KernelModes


def project_out(kernel: Tensor, stored: Tensor) -> Tensor:
    r"""The kernel of features projected off those of stored points.

    .. math:: \tilde K(x, x') = K(x, x') - K(x, X_<) K(X_<, X_<)^{+} K(X_<, x')

    Orthogonal gradient descent (Farajtabar et al. 2020) on a network whose kernel does not move learns a task with
    this kernel, X_< the points whose output gradients are stored: nothing is forgotten there, and at convergence
    the function is that of joint training (Bennani, Doan, Sugiyama 2020, theorems 1 and 2).

    Args:
        kernel: K of all points with themselves, [k, k].
        stored: indices of X_<, [m]; with none of them the kernel is as it was.

    Returns:
        K̃, [k, k], float64; zero in the rows of stored points.

    Raises:
        KernelError: if the kernel is not square, finite and symmetric, or an index does not exist.
    """
    gram = gram_matrix(kernel, "the kernel of all points")
    stored = torch.as_tensor(stored, dtype=torch.long)
    if stored.numel() == 0:
        return gram
    if stored.ndim != 1 or int(stored.min()) < 0 or int(stored.max()) >= len(gram):
        raise KernelError(f"stored points must be indices from 0 to {len(gram) - 1}, got {tuple(stored.shape)}")
    modes = KernelModes(gram[stored][:, stored], "the kernel of stored points")
    kappa, vectors = modes.eigenvalues[modes.resolved], modes.eigenvectors[:, modes.resolved]
    half = (gram[:, stored] @ vectors) / kappa.sqrt()
    projected = gram - half @ half.T
    projected[stored] = 0.0  # exactly: what is left there is rounding
    projected[:, stored] = 0.0
    return projected


def task_overlap(grams: list[list[Tensor]]) -> Tensor:
    r"""How far tasks share features.

    .. math:: \frac{\lVert K_{st} \rVert_F}{\sqrt{\lVert K_{ss} \rVert_F \lVert K_{tt} \rVert_F}}

    0 where no feature of one task is one of the other, 1 for a task with itself; K_st is where the change that
    learning task t makes to task s comes from (Doan et al. 2021, section 3).

    Args:
        grams: K(X_s, X_t) of every pair of tasks, T lists of T matrices.

    Returns:
        [T, T], symmetric where the kernel is.

    Raises:
        KernelError: if they are no T × T matrices, or a task's own kernel is zero.
    """
    if not grams or any(len(row) != len(grams) for row in grams):
        raise KernelError("kernels of T tasks must be T lists of T matrices")
    norms = torch.stack(
        [
            torch.stack([torch.linalg.vector_norm(array(k, "a kernel of two tasks", (None, None))) for k in row])
            for row in grams
        ]
    )
    own = norms.diagonal()
    if (own == 0).any():
        raise KernelError(f"the kernel of task {int((own == 0).nonzero()[0])} with itself is zero")
    return norms / (own[:, None] * own[None, :]).sqrt()


def forgetting_by_overlap(cross: Tensor, duals: Tensor) -> float:
    r"""‖K_st α_t‖²: by how much learning task t moves the function on task s, in squares (Doan et al. 2021).

    Args:
        cross: K(X_s, X_t), [n_s, n_t].
        duals: α_t of ``sequential_duals``, [n_t, c].
    """
    cross = array(cross, "the kernel of two tasks", (None, None))
    duals = array(duals, "the duals of a task", (cross.shape[1], None))
    return float((cross @ duals).square().sum())
