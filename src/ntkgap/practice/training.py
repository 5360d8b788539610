"""Training of a finite network, with its loss at every step."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.data import dataset_of
from ntkgap.errors import StudyError
from ntkgap.models import parameter_groups
from ntkgap.models.learning_rates import OPTIMIZERS
from ntkgap.practice.checks import check_momentum, check_network, check_training
from ntkgap.practice.curves import Stopwatch, TrainingCurve
from ntkgap.practice.losses import choose_loss, outputs_like
from ntkgap.practice.update_rules import update_rule


def minibatches(n: int, batch_size: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    """Indices of examples, pass after pass in a new random order; what does not fill a batch is left out."""
    while True:
        order = torch.randperm(n, generator=generator)
        for start in range(0, n - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def train(
    model: nn.Module,
    data: Any,
    *,
    learning_rate: float,
    steps: int,
    optimizer: str = "gd",
    momentum: float = 0.9,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
    loss: str = "squared",
    test: Any = None,
    observe: Callable[[int], None] | None = None,
) -> TrainingCurve:
    """Train ``model`` in place on the loss ½‖f − y‖² (a sum, not a mean: η then compares with 2/κ_max).

    Each layer is trained with η times the factor that its parametrisation and the scale of the output ask
    for (``models.parameter_groups``); 1 in NTK and standard parametrisation.

    Args:
        model: any network mapping [n, ...] to [n, C].
        data: training set: a ``Dataset``, a pair (x, y) of arrays, or a torch data set or loader, read once.
        learning_rate: η of the summed loss, before the factors.
        steps: number of updates.
        optimizer: ``"gd"`` (plain full-batch gradient descent), ``"sgd"`` (with momentum) or ``"adam"``.
        momentum: of ``"sgd"``, at least 0 and below 1.
        batch_size: examples an update for ``"sgd"`` and ``"adam"``; all if not given. A minibatch's
            gradient is scaled by n / batch_size, so that it estimates the full one.
        generator: source of the order of examples.
        loss: ``"squared"``, or ``"cross_entropy"`` −Σ y log softmax(f), a sum too; what kernels predict is
            about the former.
        test: data on which the loss is recorded at every step as well, in evaluation mode.
        observe: called with the step number before each update and after the last.

    Returns:
        The loss over the whole training set at every step, and the seconds that the updates took. Training
        stops where the loss is no longer finite or exceeds the initial one a million times; ``stopped`` then
        says so.

    Raises:
        StudyError: if the optimiser or the loss is unknown, a number is out of range, or the targets do not
            go with the loss.
        ModelError: if the model has nothing to train, its outputs have another shape than the targets, or
            layers that share a parameter want different rates.
    """
    check_training(learning_rate, steps)
    check_network(model)
    data, test = dataset_of(data), None if test is None else dataset_of(test)
    n = len(data)
    batch_size = n if batch_size is None else batch_size
    if not 1 <= batch_size <= n:
        raise StudyError(f"batch_size must be between 1 and the {n} training examples, got {batch_size!r}")
    if optimizer not in OPTIMIZERS:
        raise StudyError(f"unknown optimizer {optimizer!r}; choose one of {', '.join(OPTIMIZERS)}")
    if optimizer == "gd" and batch_size != n:
        raise StudyError("optimizer='gd' uses all examples at once; for minibatches use 'sgd'")
    check_momentum(momentum)
    objective = choose_loss(loss, data, test)
    groups = parameter_groups(model, learning_rate, optimizer)
    update = update_rule(groups, optimizer, momentum if optimizer == "sgd" else 0.0)

    def loss_on(x: Tensor, y: Tensor) -> Tensor:
        return objective(outputs_like(model(x), y), y)

    curve, clock = TrainingCurve(), Stopwatch(data.x.device)
    full_batch = batch_size == n
    batches = minibatches(n, batch_size, generator)
    for step in range(steps + 1):
        # The loss on all examples belongs to the update only where the update differentiates it.
        with clock if full_batch else nullcontext():
            current = loss_on(data.x, data.y)
        curve.losses.append(current.item())
        curve.add_test_loss(model, test, objective)
        if observe is not None:
            observe(step)
        if step == steps or curve.has_diverged():
            break
        with clock:
            update.zero_grad()
            if not full_batch:
                batch = next(batches)
                current = loss_on(data.x[batch], data.y[batch]) * (n / batch_size)
            current.backward()
            update.step()
        curve.seconds.append(clock.seconds)
    update.zero_grad()
    return curve
