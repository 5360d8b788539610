"""Natural gradient descent with Kronecker-factored blocks (K-FAC): one small solve a layer."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.kernels.empirical.network.refusals import refuse_coupling_layers
from ntkgap.practice.checks import check_damping, check_momentum, check_training
from ntkgap.practice.optimizers.kronecker_factors import (
    Layer,
    check_gradients,
    kronecker_factors,
    layer_parameters,
    split,
    trained_layers,
)
from ntkgap.practice.training.curves import NoStepError, Stopwatch, TrainingCurve
from ntkgap.practice.training.losses import squared_loss


def kfac_descent(
    model: nn.Module,
    data: Dataset,
    *,
    learning_rate: float,
    steps: int,
    damping: float,
    momentum: float = 0.0,
    test: Dataset | None = None,
    observe: Callable[[int], None] | None = None,
) -> TrainingCurve:
    r"""Train ``model`` in place by full-batch K-FAC on ½‖f − y‖².

    .. math:: V_l = (G_l + \tfrac{\sqrt\lambda}{\pi_l} I)^{-1} \nabla_{W_l} L \, (A_l + \pi_l \sqrt\lambda I)^{-1},
        \qquad M_l \leftarrow \mu M_l + V_l, \qquad W_l \leftarrow W_l - \eta M_l

    for every layer l with its bias, where :math:`G_l \otimes A_l` approximates the layer's block of the
    Gauss–Newton matrix JᵀJ (``KroneckerFactors``). The factors are exact for the present parameters and all
    examples: one backward pass an output, no sampled targets, no running averages. λ is on the scale of
    ``natural_gradient_descent``. Source: Martens, Grosse 2015; for convolutions Grosse, Martens 2016.

    Args:
        model: maps [n, ...] to [n, C]; what is trained in it are ``nn.Linear`` and ``nn.Conv2d`` layers
            (also scaled ones), each called once.
        data: training set.
        learning_rate: η.
        steps: number of updates.
        damping: λ, at least 0.
        momentum: μ, at least 0 and below 1.
        test: data on which the loss is recorded at every step as well.
        observe: called with the step number before each update and after the last.

    Returns:
        The loss at every step, and the seconds that the updates took. ``stopped`` says why training ended
        early: diverged, or a factor that has no Cholesky factor in this precision.

    Raises:
        StudyError: if a number is out of range.
        ModelError: naming the layers that are not covered, or that draw random numbers or couple examples in
            the mode they are in; or if the outputs have another shape than the targets.

    Example:
        >>> train, _ = ng.load_data("digits", n_train=20, n_test=5)
        >>> net = ng.MLP(64, 10, 32, 1).double()
        >>> train = train.to(torch.float64)
        >>> curve = ng.optimizers.kfac_descent(net, train, learning_rate=0.5, steps=5, damping=1e-2)
        >>> bool(curve.losses[-1] < curve.losses[0])
        True
    """
    check_training(learning_rate, steps)
    check_damping(damping)
    check_momentum(momentum)
    refuse_coupling_layers(model)
    layers = trained_layers(model)
    check_gradients(model, data, layers)
    velocity: dict[str, Tensor] = {}
    curve, clock = TrainingCurve(), Stopwatch(data.x.device)
    for step in range(steps + 1):
        with clock:
            residual, factors = kronecker_factors(model, data, layers)
        curve.losses.append(0.5 * residual.square().sum().item())
        curve.add_test_loss(model, test, squared_loss)
        if observe is not None:
            observe(step)
        if step == steps or curve.has_diverged():
            break
        try:
            with clock:
                for name, of_layer in factors.items():
                    direction = of_layer.precondition(damping)
                    velocity[name] = direction if step == 0 else momentum * velocity[name] + direction
                for name, layer in layers.items():
                    move(layer, velocity[name], learning_rate)
        except NoStepError as failure:
            curve.stop(failure)
            break
        curve.seconds.append(clock.seconds)
    return curve


def move(layer: Layer, direction: Tensor, learning_rate: float) -> None:
    """Subtract η times a direction for (weight, bias), [o, d], from the parameters of a layer."""
    with torch.no_grad():
        for p, d in zip(layer_parameters(layer), split(layer, direction), strict=True):
            p.sub_(d, alpha=learning_rate)
