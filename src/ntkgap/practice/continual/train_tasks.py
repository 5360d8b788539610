"""Networks learn the tasks of a stream, one after the other; many networks in one vectorized call."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ntkgap.data import TaskStream
from ntkgap.errors import StudyError
from ntkgap.practice.checks import check_count, check_momentum, check_seeds
from ntkgap.practice.continual.cohort import Cohort, Observer
from ntkgap.practice.continual.method import Method, Plain
from ntkgap.practice.continual.own_rates import rules_of
from ntkgap.practice.continual.refusals import check_fit, check_kinds, check_streams
from ntkgap.practice.continual.stopping import Steps, Stopping
from ntkgap.practice.continual.task_runs import TaskRuns
from ntkgap.practice.continual.teacher import Batching, Teacher, let_fit
from ntkgap.practice.training.losses import OwnLoss, choose_loss
from ntkgap.practice.training.optimizer_choice import check_kind, is_adaptive
from ntkgap.practice.training.own_fit import Fit


def train_tasks(
    networks: Sequence[nn.Module],
    streams: TaskStream | Sequence[TaskStream],
    *,
    learning_rate: float | Sequence[float] | Sequence[Sequence[float]] | None = None,
    stop: Stopping | None = None,
    method: Method | None = None,
    optimizer: Any = "gd",
    momentum: float = 0.9,
    batch_size: int | None = None,
    loss: Any = "squared",
    seeds: Sequence[int] | None = None,
    curve_points: int = 0,
    observe: Observer | None = None,
    schedule: Callable[[Any], Any] | None = None,
    weight_decay: float = 0.0,
    clip: float | None = None,
    keep_last: bool = True,
    fit: Fit | None = None,
) -> TaskRuns:
    """Train M networks on streams of T tasks, each task after the one before; same numbers as one by one.

    The loss is summed over a task's examples, ½‖f − y‖² or cross-entropy over the task's own outputs, so that
    learning rates compare with 2/κ_max of the kernel on them. Layers are trained with η times the factor of their
    parametrization (``models.parameter_groups``). Every task begins with a fresh optimizer and schedule.

    Updates use batch statistics and random masks as usual, one network after the other where there are any; scores
    and losses that are reported are those in evaluation mode.

    Args:
        networks: M of one architecture, one a seed as a rule; they are not changed.
        streams: the tasks; one stream for all networks, or one each, all of the same sizes.
        learning_rate: η as for ``train``, or one a phase; of ``"gd"`` and ``"sgd"`` also such a list for every
            network.
        stop: when a task is left: ``Steps``, ``Epochs``, ``UntilAccuracy`` or ``KernelTime``.
        method: what is done against forgetting: ``Joint``, ``OGD``, ``PCAOGD``, ``EWC`` or ``Replay``; nothing if
            not given.
        optimizer: as for ``train``; no L-BFGS.
        momentum: of ``"sgd"``, at least 0 and below 1.
        batch_size: examples an update; all if not given. As for ``train``.
        loss: as for ``train``; one's own sees the outputs and targets of the task alone.
        seeds: of the order of examples, the masks and the memory of every network; 0, 1, … if not given.
        curve_points: how often scores are noted within a phase, at steps in equal ratios.
        observe: called with the number of phases that are done, before the first and after each, and with a
            function that gives network i as it is then, a copy in evaluation mode.
        schedule: as for ``train``, from step 0 on in every phase.
        weight_decay: as for ``train``.
        clip: as for ``train``, of every network's own gradient, with what a method adds to it.
        keep_last: as for ``train``.
        fit: as for ``train``, called once a phase in place of all updates, without a method or with ``Joint``.

    Returns:
        Scores of all tasks after every phase, and what else was noted. A network that diverges, its loss not
        finite or a million times the one on all tasks before training, stands still from then on; its scores
        are NaN.

    Raises:
        StudyError: if a number is out of range, an option unknown, or streams do not go with networks: they are
            none, of other sizes, or of another precision. And as ``train`` does.
        ModelError: if networks differ in architecture, or what they say about a point depends on other points.

    Example:
        >>> load = ng.continual.load_stream
        >>> stream = load("rotated", "digits", n_train=20, n_test=50, tasks=2, angle=45, flatten=True)
        >>> networks = [ng.MLP(64, 10, 32, 1, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
        >>> runs = ng.continual.train_tasks(networks, stream, learning_rate=1e-3, stop=ng.continual.Steps(20))
        >>> len(runs.scores), ng.continual.AccuracyMatrix(runs.scores[0]).scores.shape
        (2, (2, 2))
    """
    every = check_streams(networks, streams)
    check_kind(optimizer)
    check_momentum(momentum)
    objective = choose_loss(loss, *(task.train for stream in every for task in stream.tasks))
    named = objective if isinstance(objective, OwnLoss) else loss
    numbers = check_seeds(range(len(networks)) if seeds is None else seeds, len(networks))
    if observe is not None and not callable(observe):
        raise StudyError(f"observe must be a function of a number of phases and of networks, got {observe!r}")
    check_count("curve_points", curve_points, 0)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    if fit is not None:
        given = {"learning_rate": learning_rate, "stop": stop, "batch_size": batch_size, "schedule": schedule}
        check_fit(method, every, **given, weight_decay=weight_decay, clip=clip, curve_points=curve_points)
        cohort = Cohort(networks, every, named, numbers)
        let_fit(fit, cohort, method or Plain(), numbers, observe)
        return cohort.runs([], [])

    check_kinds(stop, method, optimizer, schedule, objective, every[0])
    assert stop is not None  # as was checked
    cohort = Cohort(networks, every, named, numbers)
    kind = None if learning_rate is None else "adam" if is_adaptive(optimizer) else "gd"
    memory = (method or Plain()).start(cohort.learning(kind))
    phases = list(memory.phases())
    rules, multiples = rules_of(
        learning_rate,
        len(networks),
        len(phases),
        stop,
        optimizer=optimizer,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=schedule,
        clip=clip,
    )
    if isinstance(stop, Steps):
        stop.check(len(phases))
    for lesson in phases:
        if batch_size is not None and not 1 <= batch_size <= len(lesson):
            raise StudyError(f"batch_size must be between 1 and the {len(lesson)} training examples of a task")
    if optimizer == "gd" and batch_size is not None and any(batch_size != len(lesson) for lesson in phases):
        raise StudyError("optimizer='gd' uses all examples at once; for minibatches use 'sgd'")

    batching = Batching(batch_size, keep_last, [torch.Generator().manual_seed(number) for number in numbers])
    teacher = Teacher(cohort, memory, stop, batching, curve_points)
    cohort.look(observe, 0)
    for phase, (lesson, rule, multiple) in enumerate(zip(phases, rules, multiples, strict=True)):
        taken = teacher.teach(phase, lesson, rule, multiple)
        memory.finish(phase, cohort.trained)
        cohort.note(lesson, taken)
        cohort.look(observe, phase + 1)
    return cohort.runs(teacher.curve_steps, teacher.curves)
