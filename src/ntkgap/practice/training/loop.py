"""Training of a finite network, with its loss at every step."""

from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset, dataset_of
from ntkgap.errors import ModelError, StudyError
from ntkgap.practice.checks import check_network, check_steps
from ntkgap.practice.training.batches import Minibatches
from ntkgap.practice.training.curves import Stopwatch, TrainingCurve
from ntkgap.practice.training.losses import Loss, OwnLoss, check_gradient, choose_loss, loss_on
from ntkgap.practice.training.network_modes import Modes, evaluation_mode, refuse_dependence
from ntkgap.practice.training.optimizer_choice import rates_of, takes_closure
from ntkgap.practice.training.own_fit import Fit, call_fit, finite, refuse_beside_fit
from ntkgap.practice.training.updates import Rule, Updates


def train(
    model: nn.Module,
    data: Any,
    *,
    learning_rate: float | None = None,
    steps: int | None = None,
    optimizer: Any = "gd",
    momentum: float = 0.9,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
    loss: Any = "squared",
    test: Any = None,
    observe: Callable[[int], None] | None = None,
    schedule: Callable[[Any], Any] | None = None,
    weight_decay: float = 0.0,
    clip: float | None = None,
    keep_last: bool = True,
    state: dict[str, Any] | None = None,
    fit: Fit | None = None,
) -> TrainingCurve:
    """Train ``model`` in place on the loss ½‖f − y‖² (a sum, not a mean: η then compares with 2/κ_max).

    Each layer is trained with η times the factor that its parametrization and the scale of the output ask
    for (``models.parameter_groups``); 1 in NTK and standard parametrization.

    Updates use batch statistics and random masks as usual; the losses that are recorded are those in evaluation
    mode. The network comes back in the modes it came in; the random state of the process is left alone.

    Args:
        model: any network mapping [n, ...] to [n, C].
        data: training set: a ``Dataset``, a pair (x, y) of arrays, or a torch data set or loader, read once.
        learning_rate: η, before the factors; of the summed loss for the losses by name.
        steps: number of updates.
        optimizer: ``"gd"`` (plain full-batch gradient descent), ``"sgd"`` (with momentum) or ``"adam"``; a
            class of
            ``torch.optim``, which is given η; or a function that returns a ``torch.optim.Optimizer``, of parameter
            groups with their learning rates if η is given, of the bare parameters if not.
        momentum: of ``"sgd"``, at least 0 and below 1.
        batch_size: examples an update; all if not given. The gradient of a minibatch of b examples is scaled by
            n/b for the losses by name, so that it estimates the full one.
        generator: source of the order of examples and of random masks; one of seed 0 if not given.
        loss: ``"squared"``, or ``"cross_entropy"`` −Σ y log softmax(f), a sum too; what kernels predict is
            about the former. Or a function or module (outputs, targets) -> number, whose reduction counts as it
            is: for ``nn.MSELoss()``, a mean over nC numbers, η compares with nC/κ_max.
        test: data on which the loss is recorded at every step as well.
        observe: called with the step number before each update and after the last.
        schedule: a function of the step that gives the factor of the learning rate, or one of the optimizer that
            returns a scheduler of ``torch.optim.lr_scheduler``, which goes on by one with every update.
        weight_decay: λ, handed to the optimizer; it adds λθ to the gradient (``AdamW`` has its own way).
        clip: largest norm of the gradient of an update; longer ones are made so long.
        keep_last: whether the last batch of a pass is shown where examples are left that do not fill it.
        state: a dictionary; an empty one is filled with what it takes to go on (optimizer, schedule, order, masks;
            not the parameters), one that was filled is gone on from, and filled anew.
        fit: a training function of one's own, (model, data, seed) -> None, in place of all updates: it is called
            once, counts as one step, and takes the seed of the generator.

    Returns:
        The loss over the whole training set at every step, and the seconds that the updates took. Training
        stops where the loss is no longer finite or exceeds the initial one a million times; ``stopped`` then
        says so.

    Raises:
        StudyError: if the optimizer or the loss is unknown or fails, an optimizer leaves parameters out, a
            number is out of range, or the targets do not go with the loss.
        ModelError: if the model has nothing to train, its outputs have another shape than the targets or depend on
            other points in evaluation mode, or layers that share a parameter want different rates.

    Example:
        >>> train, test = ng.load_data("digits", n_train=50, n_test=50)
        >>> net = ng.MLP(64, 10, 64, 1, generator=torch.Generator().manual_seed(0))
        >>> curve = ng.train(net, train, learning_rate=0.02, steps=20, test=test)
        >>> bool(curve.losses[-1] < curve.losses[0]), len(curve.test_losses)
        (True, 21)
    """
    check_network(model)
    data, test = dataset_of(data), None if test is None else dataset_of(test)
    objective = choose_loss(loss, data, test)
    seeded = torch.Generator().manual_seed(0) if generator is None else generator
    if fit is not None:
        refuse_beside_fit(
            steps=steps,
            learning_rate=learning_rate,
            batch_size=batch_size,
            schedule=schedule,
            weight_decay=weight_decay,
            clip=clip,
            state=state,
        )
        return _fitted(fit, model, data, test, objective, seeded.initial_seed(), observe)
    rule = Rule(optimizer, learning_rate, momentum, weight_decay, schedule, clip)
    count = check_steps(steps)
    size = batch_size_of(batch_size, len(data), optimizer)
    rates = None if learning_rate is None else rates_of(model, float(learning_rate))
    updates = Updates(rule, trained_parameters(model), rates)
    modes = Modes(model, data.x, seeded)
    batches = Minibatches(len(data), size, seeded, keep_last)
    if state:
        updates.go_on(state)
        batches.go_on(state)
        modes.seed = state["masks"]

    def shown(batch: Tensor | None) -> Tensor:
        """The loss that an update descends."""
        x, y = (data.x, data.y) if batch is None else (data.x[batch], data.y[batch])
        with modes.updating(updates.taken):
            found = loss_on(model, objective, x, y)
        check_gradient(objective, found)
        return found if isinstance(objective, OwnLoss) or batch is None else found * (len(data) / len(batch))

    curve, clock = TrainingCurve(), Stopwatch(data.x.device)
    # The loss that is recorded is the one that is differentiated: then one pass does for both.
    once = size == len(data) and not modes.differ and not takes_closure(updates.optimizer)
    for step in range(count + 1):
        if once:
            with clock:
                current = shown(None)
        else:
            with torch.no_grad(), modes.asking():
                current = loss_on(model, objective, data.x, data.y)
        curve.losses.append(current.item())
        curve.add_test_loss(model, test, objective)
        if observe is not None:
            observe(step)
        if step == count or curve.has_diverged():
            break
        with clock:
            batch = None if size == len(data) else next(batches)
            updates.step(partial(_first, current) if once else partial(shown, batch), curve.losses[-1])
        curve.seconds.append(clock.seconds)
    updates.forget()
    if state is not None:
        state.update(updates.state() | batches.state() | {"masks": modes.seed})
    return curve


def _first(loss: Tensor) -> Tensor:
    return loss


def _fitted(
    fit: Fit,
    model: nn.Module,
    data: Dataset,
    test: Dataset | None,
    loss: Loss,
    seed: int,
    observe: Callable[[int], None] | None,
) -> TrainingCurve:
    """The losses before and after a training function."""
    refuse_dependence(model, data.x)
    curve, clock = TrainingCurve(), Stopwatch(data.x.device)
    for step in range(2):
        with torch.no_grad(), evaluation_mode(model):
            curve.losses.append(loss_on(model, loss, data.x, data.y).item())
        curve.add_test_loss(model, test, loss)
        if observe is not None:
            observe(step)
        if step == 0:
            with clock:
                call_fit(fit, model, data, seed)
            curve.seconds.append(clock.seconds)
    if not curve.has_diverged() and not finite(model):
        curve.stopped = "diverged at step 1"
    return curve


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require grad, by name.

    Raises:
        ModelError: if there are none.
    """
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise ModelError("the model has no parameters that require grad, so there is nothing to train")
    return found


def batch_size_of(batch_size: Any, n: int, optimizer: Any) -> int:
    """Examples an update; all if not given.

    Raises:
        StudyError: if that is out of range, or for gradient descent by name not all.
    """
    size = n if batch_size is None else batch_size
    if isinstance(size, bool) or not isinstance(size, Integral) or not 1 <= int(size) <= n:
        raise StudyError(f"batch_size must be between 1 and the {n} training examples, got {batch_size!r}")
    if isinstance(optimizer, str) and optimizer == "gd" and size != n:
        raise StudyError("optimizer='gd' uses all examples at once; for minibatches use 'sgd'")
    return int(size)
