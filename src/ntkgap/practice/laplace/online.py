"""Training that chooses its own weight decay and noise: evidence maximization along the way."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.data import Dataset
from ntkgap.errors import AccuracyWarning, KernelError, StudyError
from ntkgap.kernels.empirical.network.selection import select_parameters
from ntkgap.linalg.evidence import Range
from ntkgap.linalg.likelihoods import choose_likelihood
from ntkgap.models import parameter_groups
from ntkgap.models.calls import output_tensor
from ntkgap.one_line import one_line
from ntkgap.practice.checks import check_training
from ntkgap.practice.laplace.linearized_laplace import LinearizedLaplace
from ntkgap.practice.laplace.noise import check_hyperparameters
from ntkgap.practice.laplace.weight_prior import PriorMean, prior_values
from ntkgap.practice.training.curves import TrainingCurve
from ntkgap.practice.training.losses import Loss, cross_entropy, loss_on, squared_loss, with_columns
from ntkgap.practice.training.network_modes import Modes
from ntkgap.practice.training.update_rules import update_rule


@dataclass(frozen=True)
class HyperparameterChoice:
    """What the evidence chose at one step of training.

    Attributes:
        step: how many updates came before.
        prior_precision: δ from then on.
        noise_variance: σ² from then on; None for classes.
        log_evidence: of the network linearized there, in nats.
        at_edge: whether δ or σ² lies on its bounds.
    """

    step: int
    prior_precision: float
    noise_variance: float | None
    log_evidence: float
    at_edge: bool

    __repr__ = one_line


@dataclass(frozen=True)
class OnlineLaplace:
    """A network trained with online evidence maximization.

    Attributes:
        model: the network, trained in place.
        curve: ½‖f − y‖², or the cross-entropy of classes, before each step and after the last; ``stopped`` says if
            training diverged.
        path: what the evidence chose, and when.
        laplace: the posterior of the final network with the last choice; None if training diverged.
    """

    model: nn.Module
    curve: TrainingCurve
    path: tuple[HyperparameterChoice, ...]
    laplace: LinearizedLaplace | None

    __repr__ = one_line


def online_laplace(
    model: nn.Module,
    data: Dataset,
    *,
    learning_rate: float,
    steps: int,
    every: int | None = None,
    optimizer: str = "adam",
    likelihood: str | None = None,
    prior_precision: float = 1.0,
    noise_variance: float | None = None,
    prior_mean: PriorMean = None,
    bounds: tuple[Range, Range] | Range | None = None,
    route: str = "auto",
) -> OnlineLaplace:
    r"""Train ``model`` in place toward the mode of its posterior while the evidence chooses δ and σ².

    .. math:: \sigma^2 \left( \tfrac{1}{2\sigma^2} \lVert f(X; \theta) - y \rVert^2
              + \tfrac{\delta}{2} \lVert \theta - \theta_{\mathrm{prior}} \rVert^2 \right)

    is what full-batch steps descend: the negative log posterior times σ², that is ½‖f − y‖² with weight decay δσ².
    Gradient descent is stable below the learning rate 2/(κ_max + δσ²); ``bounds`` keep δσ² in reach. Classes have
    the cross-entropy with weight decay δ instead. After every so many steps, and after the last, the network is
    linearized where it is, and δ and σ² are set to the maximum of the evidence. Source: Immer et al. 2021,
    *Scalable marginal likelihood estimation for model selection in deep learning*, algorithm 1; there a few
    gradient steps are taken where here the maximum is found, which the eigendecomposition gives for nothing.

    Updates use batch statistics and random masks as usual (of seed 0); the losses that are recorded and the
    posterior are of the network in evaluation mode.

    Args:
        model: any network mapping [n, ...] to [n, C].
        data: training set.
        learning_rate: η of the summed loss, times the factors of ``models.parameter_groups``.
        steps: number of updates.
        every: updates between two choices; what comes before the first is trained with the given δ and σ². If not
            given they are kept to the end.
        optimizer: ``"gd"`` or ``"adam"``, both with all examples at once.
        likelihood: as for ``LinearizedLaplace``.
        prior_precision: δ, to begin with.
        noise_variance: σ² of regression, to begin with; 1 if not given.
        prior_mean: θ_prior, as for ``LinearizedLaplace``.
        bounds: as for ``LinearizedLaplace.fit_evidence``.
        route: as for ``LinearizedLaplace``.

    Raises:
        StudyError: if a number or the optimizer is out of range.
        KernelError, DataError, ModelError: as ``LinearizedLaplace`` does.

    Example:
        >>> x = torch.linspace(-1, 1, 12)[:, None]
        >>> net = ng.MLP(1, 1, 16, 1, bias_std=0.5, generator=torch.Generator().manual_seed(0))
        >>> run = ng.practice.online_laplace(net, ng.Dataset(x, x**2), learning_rate=0.01, steps=40, every=20)
        >>> run.laplace.prior_precision > 0
        True
    """
    check_training(learning_rate, steps)
    check_hyperparameters(prior_precision, 1.0 if noise_variance is None else noise_variance)
    if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
        raise StudyError(f"every must be an integer of at least 1, got {every!r}")
    if optimizer not in ("gd", "adam"):
        raise StudyError(f"unknown optimizer {optimizer!r}; choose 'gd' or 'adam'")
    groups = parameter_groups(model, learning_rate, optimizer)
    update = update_rule(groups, optimizer)
    chosen = select_parameters(model)
    trained = {name: p for name, p in model.named_parameters() if name in chosen}
    # θ_prior is fixed before the first step: the prior mean may well be the very network that is trained.
    prior64 = prior_values(model, prior_mean)
    prior = {name: value.to(trained[name]) for name, value in prior64.items()}

    modes = Modes(model, data.x, torch.Generator().manual_seed(0))
    with torch.no_grad(), modes.asking():
        outputs = with_columns(output_tensor(model, model(data.x)), data.y)
    kind, targets = choose_likelihood(likelihood, data.y, data.n_classes, outputs.shape[-1])
    if kind != "gaussian" and noise_variance is not None:
        raise KernelError(f"noise_variance is of regression: likelihood {kind!r} has none; leave it out")
    loss, targets = LOSSES[kind], targets.to(outputs)

    delta, noise = float(prior_precision), 1.0 if noise_variance is None else float(noise_variance)
    curve, path = TrainingCurve(), []
    laplace: LinearizedLaplace | None = None

    def posterior() -> LinearizedLaplace:
        return LinearizedLaplace(
            model, data, likelihood=kind, prior_precision=delta, prior_mean=prior64, route=route
        )

    for step in range(steps + 1):
        with modes.asking():
            misfit = loss_on(model, loss, data.x, targets)
        curve.losses.append(misfit.item())
        if curve.has_diverged():
            break
        if every is not None and ((step > 0 and step % every == 0) or step == steps):
            with warnings.catch_warnings():
                # On the way to the mode the network is not there yet.
                warnings.filterwarnings("ignore", "prior_precision .* is not to be trusted", AccuracyWarning)
                laplace = posterior().fit_evidence(bounds=bounds)
            assert laplace.maximum is not None
            delta, greatest, at_edge = (
                laplace.prior_precision,
                laplace.maximum.log_evidence,
                laplace.maximum.at_edge,
            )
            noise = laplace.noise_variance if isinstance(laplace.noise_variance, float) else 1.0
            path.append(
                HyperparameterChoice(step, delta, noise if kind == "gaussian" else None, greatest, at_edge)
            )
        if step == steps:
            laplace = (laplace or posterior()).at(delta, noise if kind == "gaussian" else None)
            break
        update.zero_grad()
        if modes.differ:
            with modes.updating(step):
                misfit = loss_on(model, loss, data.x, targets)
        (misfit + 0.5 * delta * noise * _squared_distance(trained, prior)).backward()
        update.step()
    update.zero_grad()
    return OnlineLaplace(model, curve, tuple(path), None if curve.stopped else laplace)


def _bernoulli_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction="sum")


# The negative log likelihood; of regression times σ².
LOSSES: dict[str, Loss] = {"gaussian": squared_loss, "categorical": cross_entropy, "bernoulli": _bernoulli_loss}


def _squared_distance(parameters: dict[str, nn.Parameter], prior: dict[str, Tensor]) -> Tensor:
    """‖θ − θ_prior‖²."""
    return torch.stack([(p - prior[name]).square().sum() for name, p in parameters.items()]).sum()
