"""How a cell is trained, by the user's settings or by the default, and the largest stable step."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ntkgap.models import learning_rate_factor
from ntkgap.practice.training.losses import Loss, choose_loss
from ntkgap.studies.diagnosis.problem import DiagnosisProblem
from ntkgap.studies.diagnosis.quantities import largest_eigenvalue


@dataclass(frozen=True)
class Recipe:
    """How a network and its linearized model are trained.

    Attributes:
        settings: as ``ntkgap.train`` takes them.
        loss: the objective.
        squared: whether it is a sum or mean of squared errors.
        kappa_start: κ_max at the start; NaN where nobody asks for it.
        critical_start: κ_max at which the first step is just stable; NaN where that is not known.
        critical_end: the same of the last step.
        unknown: why it is not known; empty if it is.
    """

    settings: dict[str, Any]
    loss: Loss
    squared: bool
    kappa_start: float
    critical_start: float
    critical_end: float
    unknown: str = ""


def recipe_of(problem: DiagnosisProblem, network: nn.Module, x: Tensor, n_outputs: int) -> Recipe:
    """The training of a problem for a network at its start.

    Args:
        problem: with the user's training or without.
        network: at its start.
        x: training inputs, [n, ...].
        n_outputs: C.

    Raises:
        ModelError: if layers want different learning rates, so that η is not one number.
    """
    factor = learning_rate_factor(network)
    spec, n = problem.train, len(x)
    if spec is None:
        own = problem.training
        kappa = largest_eigenvalue(network, x)
        critical = 2 * (1 + own.momentum) / kappa if kappa > 0 else math.nan
        rate = own.fraction_of_critical * critical
        settings: dict[str, Any] = {
            "optimizer": "sgd",
            "loss": "squared",
            "learning_rate": rate / factor,
            "momentum": own.momentum,
            "batch_size": min(own.batch_size, n),
            "steps": own.steps,
        }
        at = 2 * (1 + own.momentum) / rate
        return Recipe(settings, choose_loss("squared"), True, kappa, at, at)
    squared = spec.loss in ("squared", "MSELoss")
    settings, loss = spec.settings(factor), choose_loss(spec.objective)
    if reason := _unknown_step(problem, squared):
        return Recipe(settings, loss, squared, math.nan, math.nan, math.nan, reason)
    # The learning rate counts for ½‖f − y‖²: the mean of nC squares is 2/(nC) of that.
    assert spec.learning_rate is not None
    assert spec.steps is not None
    scale = 1.0 if spec.loss == "squared" else 2.0 / (n * n_outputs)
    schedule = settings["schedule"]
    factors = [1.0, 1.0] if schedule is None else [float(schedule(step)) for step in (0, spec.steps - 1)]
    first, last = (
        2 * (1 + spec.velocity) / (spec.learning_rate * scale * f) if f > 0 else math.inf for f in factors
    )
    return Recipe(settings, loss, squared, largest_eigenvalue(network, x), first, last)


def _unknown_step(problem: DiagnosisProblem, squared: bool) -> str:
    """Why it is not known which step is stable; empty if it is."""
    spec = problem.train
    assert spec is not None
    if spec.fit is not None:
        return "the step size of a training function is not known"
    if spec.optimizer not in ("gd", "sgd", "SGD"):
        return "the largest stable step is known of SGD alone"
    if not squared:
        return "the kernel alone tells the largest stable step of the squared loss only"
    if spec.clip is not None or not spec.schedule_of_steps:
        return "clipping and schedulers of torch change the step on the way"
    return ""
