"""Exact natural gradient descent in Gram form: one [nC, nC] solve a step, whatever the number of parameters."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import StudyError
from ntkgap.kernels import Jacobian
from ntkgap.kernels.empirical.network.refusals import refuse_coupling_layers
from ntkgap.one_line import one_line
from ntkgap.practice.checks import check_damping, check_training
from ntkgap.practice.optimizers.gram_systems import CholeskySystem, MatrixFreeSystem, check_gram_fits
from ntkgap.practice.optimizers.step_control import (
    AdaptiveDamping,
    FixedStep,
    SearchedLearningRate,
    StepControl,
    Walker,
)
from ntkgap.practice.training.curves import NoStepError, Stopwatch, TrainingCurve
from ntkgap.practice.training.losses import squared_loss

SOLVERS = ("cholesky", "conjugate_gradients")


@dataclass
class NaturalGradientCurve(TrainingCurve):
    """A training curve with what every step was taken with.

    Attributes:
        learning_rates: η of every update.
        dampings: λ of every update.
    """

    learning_rates: list[float] = field(default_factory=list)
    dampings: list[float] = field(default_factory=list)

    __repr__ = one_line


def natural_gradient_descent(
    model: nn.Module,
    data: Dataset,
    *,
    learning_rate: float | str,
    steps: int,
    damping: float | str = 0.0,
    solver: str = "cholesky",
    test: Dataset | None = None,
    observe: Callable[[int, Jacobian, Tensor], None] | None = None,
) -> NaturalGradientCurve:
    r"""Train ``model`` in place by exact natural gradient descent on ½‖f − y‖².

    .. math:: \theta \leftarrow \theta - \eta\, J^\top (J J^\top + \lambda I)^{-1} (f - y)

    equals the parameter form :math:`(J^\top J + \lambda I)^{-1} J^\top (f - y)` (for λ = 0 the
    pseudo-inverse). Source: Zhang, Martens, Grosse 2019, equation 7.

    Args:
        model: any network mapping [n, ...] to [n, C]; use float64, a step inverts the Gram matrix. Batch
            normalization and dropout must be in evaluation mode: in train mode there is no Jacobian of an example.
        data: training set.
        learning_rate: η, or ``"search"`` for the largest of 1, ½, ¼, … in every step with which the loss falls
            by at least half of what the linearized network predicts.
        steps: number of updates.
        damping: λ, at least 0, or ``"adaptive"`` for the Levenberg–Marquardt rule: λ rises until the loss
            falls, and falls while the linearized network predicts by how much (Nielsen 1999).
        solver: ``"cholesky"`` forms the Gram matrix; ``"conjugate_gradients"`` only multiplies with it, for
            n·C too large to form it, to a relative residual of √ε of the precision. The latter needs
            a damping unless the Gram matrix is well conditioned.
        test: data on which the loss is recorded at every step as well.
        observe: called before each update and after the last with the step number, the Jacobian and
            its Gram matrix [nC, nC].

    Returns:
        The loss, the seconds of the updates, η and λ at every step; the seconds of the first include looking
        into the network's layers. ``stopped`` says why training ended early: diverged, no step that reduces
        the loss, or a Gram matrix that has no Cholesky factor in this precision.

    Raises:
        StudyError: if a number is out of range, both η and λ are to be found, or the Gram matrix is too
            large to be formed.
        ModelError: if the outputs have another shape than the targets, or as :func:`empirical_ntk`.

    Example:
        >>> train, _ = ng.load_data("digits", n_train=20, n_test=5)
        >>> net = ng.MLP(64, 10, 256, 2, generator=torch.Generator().manual_seed(0)).double()
        >>> train = train.to(torch.float64)
        >>> curve = ng.optimizers.natural_gradient_descent(net, train, learning_rate=0.5, steps=4)
        >>> bool(curve.losses[-1] < 0.1 * curve.losses[0])
        True
    """
    refuse_coupling_layers(model)
    control = _choose_control(learning_rate, damping, steps)
    if solver not in SOLVERS:
        raise StudyError(f"unknown solver {solver!r}; choose one of {', '.join(SOLVERS)}")
    if solver == "cholesky":
        check_gram_fits(data)
    elif observe is not None:
        raise StudyError(
            "observe is given the Jacobian and its Gram matrix, which solver='conjugate_gradients' does not form; "
            "use solver='cholesky', or observe nothing"
        )
    curve, clock = NaturalGradientCurve(), Stopwatch(data.x.device)
    walker = Walker(model, data)
    recipe = None
    for step in range(steps + 1):
        system: CholeskySystem | MatrixFreeSystem
        with clock:
            if solver == "cholesky":
                # The recipe is found in the first step and checked in two: what starts at zero, a last
                # layer for one, lets gradients vanish that do not a step later.
                system = CholeskySystem(model, data, recipe, check=step == 0, checked=step > 1)
                recipe = system.at.recipe
            else:
                system = MatrixFreeSystem(model, data)
        curve.losses.append(0.5 * system.residual.square().sum().item())
        curve.add_test_loss(model, test, squared_loss)
        if curve.has_diverged():
            break
        if observe is not None and isinstance(system, CholeskySystem):
            observe(step, system.at, system.gram)
        if step == steps:
            break
        try:
            with clock:
                taken = control.step(system, walker)
        except NoStepError as failure:
            curve.stop(failure)
            break
        curve.learning_rates.append(taken[0])
        curve.dampings.append(taken[1])
        curve.seconds.append(clock.seconds)
    return curve


def _choose_control(learning_rate: float | str, damping: float | str, steps: int) -> StepControl:
    if learning_rate == "search" and damping == "adaptive":
        raise StudyError(
            "learning_rate='search' and damping='adaptive' both answer a step that does not reduce the loss; "
            "choose one, and a number for the other (1 for the learning rate)"
        )
    for name, value, word in (("learning_rate", learning_rate, "search"), ("damping", damping, "adaptive")):
        if isinstance(value, str) and value != word:
            raise StudyError(f"{name} must be a number or {word!r}, got {value!r}")
    check_training(1.0 if isinstance(learning_rate, str) else learning_rate, steps)
    check_damping(0.0 if isinstance(damping, str) else damping)
    if isinstance(learning_rate, str):
        return SearchedLearningRate(float(damping))
    return AdaptiveDamping(learning_rate) if isinstance(damping, str) else FixedStep(learning_rate, damping)
