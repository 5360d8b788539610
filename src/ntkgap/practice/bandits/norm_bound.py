"""How large the function of mean rewards is in the space of the neural tangent kernel."""

import math

import torch
from torch import Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.bandits.environment import Environment
from ntkgap.practice.bandits.kernel_ucb import Kernel, kernel_table

# Added to the kernel's diagonal, relative to its mean: contexts that come again make H singular.
JITTER = 1e-6


def norm_bound(environment: Environment, kernel: Kernel) -> float:
    r"""The constant S that the regret bound of NeuralUCB asks for, from the true mean rewards.

    .. math:: S = \sqrt{2\, h^\top H^{-1} h}

    with h the mean rewards of all T contexts and K arms and H [TK, TK] the kernel of infinite width between them.
    Whoever plays does not know h: it is the least constant for which the theorem holds, an oracle's. H has a
    relative 1e-6 added to its diagonal, so that the number is from below.

    All arms are alike to the kernel, and H is I ⊗ (A − B) + 11ᵀ ⊗ B with A between contexts of one arm and B of
    two: one solve for what arms have in common, one for where they differ.

    Args:
        environment: the contexts, and what arms pay in the mean.
        kernel: of inputs, ``infinite_kernel(model)``.

    Returns:
        S.

    Raises:
        StudyError: if the kernel between the contexts is not positive definite.

    Source: Zhou, Li, Gu 2020, *Neural contextual bandits with UCB-based exploration*, theorem 4.5.
    """
    same, other = kernel_table(environment, kernel)
    h = environment.means.double()
    common = h.mean(dim=1, keepdim=True)
    arms = environment.arms
    square = arms * _energy(same + (arms - 1) * other, common) + _energy(same - other, h - common)
    return math.sqrt(2 * square)


def _energy(gram: Tensor, h: Tensor) -> float:
    """Σ_a h_aᵀ G⁻¹ h_a for the columns of h."""
    gram = gram + JITTER * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if failed:
        raise StudyError(
            "the kernel between the contexts is not positive definite; give schedule.norm_bound a number"
        )
    return float(torch.linalg.solve_triangular(factor, h, upper=False).square().sum())
