"""Exact natural gradient descent in Gram form: one [nC, nC] solve a step, whatever the number of parameters."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import StudyError
from ntkgap.kernels import Jacobian, as_matrix, jacobian
from ntkgap.practice.training import TrainingCurve, check_training


def natural_gradient_descent(
    model: nn.Module,
    data: Dataset,
    *,
    learning_rate: float,
    steps: int,
    damping: float = 0.0,
    observe: Callable[[int, Jacobian, Tensor], None] | None = None,
) -> TrainingCurve:
    r"""Train ``model`` in place by exact natural gradient descent on ½‖f − y‖².

    .. math:: \theta \leftarrow \theta - \eta\, J^\top (J J^\top + \lambda I)^{-1} (f - y)

    equals the parameter form :math:`(J^\top J + \lambda I)^{-1} J^\top (f - y)` (for λ = 0 the
    pseudo-inverse). Source: Zhang, Martens, Grosse 2019, equation 7.

    Args:
        model: any network mapping [n, ...] to [n, C]; use float64, a step inverts the Gram matrix.
        data: training set.
        learning_rate: η.
        steps: number of updates.
        damping: λ, at least 0.
        observe: called before each update and after the last with the step number, the Jacobian and
            its Gram matrix [nC, nC].

    Returns:
        The loss at every step. ``stopped`` says why training ended early: diverged, or a Gram matrix
        that has no Cholesky factor in this precision.

    Raises:
        StudyError: if a number is out of range.
    """
    check_training(learning_rate, steps)
    if not 0 <= damping < float("inf"):
        raise StudyError(f"damping must be finite and at least 0, got {damping!r}")
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    curve = TrainingCurve([])
    recipe = None
    for step in range(steps + 1):
        at = jacobian(model, data.x, recipe=recipe)
        recipe = at.recipe  # how this network's Jacobian is had was found and proved in the first step
        residual = at.outputs - data.y
        curve.losses.append(0.5 * residual.square().sum().item())
        if curve.has_diverged():
            break
        gram = as_matrix(at.gram())
        if observe is not None:
            observe(step, at, gram)
        if step == steps:
            break
        gram.diagonal().add_(damping)
        factor, failed = torch.linalg.cholesky_ex(gram)
        if failed:
            curve.stopped = f"the Gram matrix is numerically singular at step {step}; set a damping"
            break
        weights = torch.cholesky_solve(residual.reshape(-1, 1), factor)
        direction = at.vjp(weights.view_as(residual))
        with torch.no_grad():
            for name, p in parameters.items():
                p.sub_(direction[name], alpha=learning_rate)
    return curve
