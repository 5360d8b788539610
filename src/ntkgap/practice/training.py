"""Training of a finite network, with its loss at every step."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import StudyError
from ntkgap.models import parameter_groups
from ntkgap.models.learning_rates import OPTIMIZERS

# A loss this many times the initial one never comes back; stopping there keeps the numbers finite.
DIVERGENCE_FACTOR = 1e6


@dataclass
class TrainingCurve:
    """Loss ½‖f − y‖² over the training set, at every step.

    Attributes:
        losses: the loss before each step and after the last, at most steps + 1 numbers.
        stopped: why training ended early ("diverged at step 3"), or None if it did not.
    """

    losses: list[float]
    stopped: str | None = None

    def has_diverged(self) -> bool:
        """Whether the last recorded loss is not finite or has left all bounds; then says so in ``stopped``."""
        last = self.losses[-1]
        if last <= DIVERGENCE_FACTOR * self.losses[0]:  # False for NaN too
            return False
        self.stopped = f"diverged at step {len(self.losses) - 1}"
        return True


def squared_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """½‖f − y‖², summed over examples and outputs."""
    return 0.5 * (outputs - targets).square().sum()


def check_training(learning_rate: float, steps: int) -> None:
    """Refuse a learning rate that is not positive and finite, or a negative number of steps.

    Raises:
        StudyError: naming the argument.
    """
    if not 0 < learning_rate < float("inf"):
        raise StudyError(f"learning_rate must be positive and finite, got {learning_rate!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise StudyError(f"steps must be an integer of at least 0, got {steps!r}")


def train(
    model: nn.Module,
    data: Dataset,
    *,
    learning_rate: float,
    steps: int,
    optimizer: str = "gd",
    momentum: float = 0.9,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
    observe: Callable[[int], None] | None = None,
) -> TrainingCurve:
    """Train ``model`` in place on the loss ½‖f − y‖² (a sum, not a mean: η then compares with 2/κ_max).

    Each layer is trained with η times the factor that its parametrisation and the scale of the output ask
    for (``models.parameter_groups``); 1 in NTK and standard parametrisation.

    Args:
        model: any network mapping [n, ...] to [n, C].
        data: training set.
        learning_rate: η of the summed loss, before the factors.
        steps: number of updates.
        optimizer: ``"gd"`` (plain full-batch gradient descent), ``"sgd"`` (with momentum) or ``"adam"``.
        momentum: of ``"sgd"``.
        batch_size: examples an update for ``"sgd"`` and ``"adam"``; all if not given. A minibatch's
            gradient is scaled by n / batch_size, so that it estimates the full one.
        generator: source of the order of examples.
        observe: called with the step number before each update and after the last.

    Returns:
        The loss over the whole training set at every step. Training stops where the loss is no longer
        finite or exceeds the initial one a million times; ``stopped`` then says so.

    Raises:
        StudyError: if the optimiser is unknown or a number is out of range.
        ModelError: if the model has nothing to train, or layers that share a parameter want different rates.
    """
    check_training(learning_rate, steps)
    n = len(data)
    batch_size = n if batch_size is None else batch_size
    if not 1 <= batch_size <= n:
        raise StudyError(f"batch_size must be between 1 and the {n} training examples, got {batch_size!r}")
    if optimizer not in OPTIMIZERS:
        raise StudyError(f"unknown optimizer {optimizer!r}; choose one of {', '.join(OPTIMIZERS)}")
    if optimizer == "gd" and batch_size != n:
        raise StudyError("optimizer='gd' uses all examples at once; for minibatches use 'sgd'")
    groups = parameter_groups(model, learning_rate, optimizer)
    update: torch.optim.Optimizer
    if optimizer == "adam":
        update = torch.optim.Adam(groups)
    else:
        update = torch.optim.SGD(groups, momentum=momentum if optimizer == "sgd" else 0)

    curve = TrainingCurve([])
    order = torch.arange(n)
    position = n  # the first minibatch begins a new pass
    for step in range(steps + 1):
        loss = squared_loss(model(data.x), data.y)
        curve.losses.append(loss.item())
        if observe is not None:
            observe(step)
        if step == steps or curve.has_diverged():
            break
        update.zero_grad()
        if batch_size < n:
            if position + batch_size > n:
                order, position = torch.randperm(n, generator=generator), 0
            batch = order[position : position + batch_size]
            position += batch_size
            loss = squared_loss(model(data.x[batch]), data.y[batch]) * (n / batch_size)
        loss.backward()
        update.step()
    update.zero_grad()
    return curve
