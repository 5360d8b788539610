"""Networks learn the tasks of a stream, one after the other; many networks in one vectorised call."""

from collections.abc import Iterable, Sequence
from numbers import Integral

import torch
from torch import Tensor, nn

from ntkgap.data import TaskStream
from ntkgap.errors import StudyError
from ntkgap.models.learning_rates import OPTIMIZERS
from ntkgap.practice.checks import check_count, check_momentum, check_training, rate_of_each
from ntkgap.practice.continual.cohort import Cohort, Observer
from ntkgap.practice.continual.lessons import Lesson, losses
from ntkgap.practice.continual.method import Memory, Method, Plain
from ntkgap.practice.continual.orthogonal_gradients import OGD
from ntkgap.practice.continual.runs import TaskRuns
from ntkgap.practice.continual.stopping import KernelTime, Steps, Stopping
from ntkgap.practice.losses import choose_loss
from ntkgap.practice.training import minibatches
from ntkgap.practice.update_rules import UpdateRule, update_rule


def train_tasks(
    networks: Sequence[nn.Module],
    streams: TaskStream | Sequence[TaskStream],
    *,
    learning_rate: float | Sequence[float],
    stop: Stopping,
    method: Method | None = None,
    optimizer: str = "gd",
    momentum: float = 0.9,
    batch_size: int | None = None,
    loss: str = "squared",
    seeds: Sequence[int] | None = None,
    curve_points: int = 0,
    observe: Observer | None = None,
) -> TaskRuns:
    """Train M networks on streams of T tasks, each task after the one before; same numbers as one by one.

    The loss is summed over a task's examples, ½‖f − y‖² or cross-entropy over the task's own outputs, so that
    learning rates compare with 2/κ_max of the kernel on them. Layers are trained with η times the factor of their
    parametrisation (``models.parameter_groups``). Every task begins with a fresh optimiser.

    Args:
        networks: M of one architecture, one a seed as a rule; they are not changed.
        streams: the tasks; one stream for all networks, or one each, all of the same sizes.
        learning_rate: η, or one a phase.
        stop: when a task is left: ``Steps``, ``Epochs``, ``UntilAccuracy`` or ``KernelTime``.
        method: what is done against forgetting: ``Joint``, ``OGD``, ``PCAOGD``, ``EWC`` or ``Replay``; nothing if
            not given.
        optimizer: ``"gd"``, ``"sgd"`` (with momentum) or ``"adam"``.
        momentum: of ``"sgd"``, at least 0 and below 1.
        batch_size: examples an update for ``"sgd"`` and ``"adam"``; all if not given. A minibatch's gradient is
            scaled by n / batch_size.
        loss: ``"squared"`` or ``"cross_entropy"``.
        seeds: of the order of examples of every network; 0, 1, … if not given.
        curve_points: how often scores are noted within a phase, at steps in equal ratios.
        observe: called with the number of phases that are done, before the first and after each, and with a
            function that gives network i as it is then.

    Returns:
        Scores of all tasks after every phase, and what else was noted. A network that diverges, its loss not
        finite or a million times the one on all tasks before training, stands still from then on; its scores
        are NaN.

    Raises:
        StudyError: if a number is out of range, an option unknown, or streams do not go with networks: they are
            none, of other sizes, or of another precision.
        ModelError: if networks differ in architecture, or have layers that share statistics between examples or
            draw random numbers.
    """
    if not isinstance(networks, Sequence | nn.ModuleList) or not all(isinstance(n, nn.Module) for n in networks):
        raise StudyError(
            f"networks must be several: give a list of networks, [network] if there is only one; "
            f"got {_short(networks)}"
        )
    every = _streams(streams, len(networks))
    if not networks or len(every) != len(networks):
        raise StudyError(
            f"there are {len(networks)} networks and {len(every)} streams; give one stream a network, or one "
            f"for all"
        )
    if any([t.columns for t in s.tasks] != [t.columns for t in every[0].tasks] for s in every):
        raise StudyError("streams that are learned together must use the same outputs for the same tasks")
    if optimizer not in OPTIMIZERS:
        raise StudyError(f"unknown optimizer {optimizer!r}; choose one of {', '.join(OPTIMIZERS)}")
    check_momentum(momentum)
    _check_kinds(stop, method)
    if optimizer == "adam" and isinstance(method, OGD):
        raise StudyError(
            "Adam bends the directions of orthogonal gradients; use 'gd' or 'sgd' with OGD and PCAOGD"
        )
    if optimizer == "adam" and isinstance(stop, KernelTime):
        raise StudyError(
            "Adam does not follow gradient flow, so that KernelTime has no meaning for it; use 'gd' or 'sgd', or "
            "stop after Steps, Epochs or UntilAccuracy"
        )
    for stream in every:
        choose_loss(loss, *(task.train for task in stream.tasks))
    numbers = _seeds(range(len(networks)) if seeds is None else seeds)
    if len(numbers) != len(networks):
        raise StudyError(f"there are {len(networks)} networks but {len(numbers)} seeds; give one a network")
    if observe is not None and not callable(observe):
        raise StudyError(f"observe must be a function of a number of phases and of networks, got {observe!r}")
    _match_dtypes(networks, every)
    check_count("curve_points", curve_points, 0)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    cohort = Cohort(networks, every, loss)
    memory = (method or Plain()).start(cohort.learning(optimizer))
    phases = list(memory.phases())
    rates = rate_of_each(learning_rate, len(phases))
    if len(rates) != len(phases):
        raise StudyError(
            f"there are {len(phases)} phases but {len(rates)} learning rates; give one a phase, or one"
        )
    for rate in rates:
        check_training(rate, 0)
    if isinstance(stop, Steps):
        stop.check(len(phases))
    for lesson in phases:
        if batch_size is not None and not 1 <= batch_size <= len(lesson):
            raise StudyError(f"batch_size must be between 1 and the {len(lesson)} training examples of a task")
    if optimizer == "gd" and batch_size is not None and any(batch_size != len(lesson) for lesson in phases):
        raise StudyError("optimizer='gd' uses all examples at once; for minibatches use 'sgd'")

    generators = [torch.Generator().manual_seed(number) for number in numbers]
    teacher = _Teacher(cohort, memory, stop, optimizer, momentum, batch_size, generators, curve_points)
    cohort.look(observe, 0)
    for phase, (lesson, rate) in enumerate(zip(phases, rates, strict=True)):
        taken = teacher.teach(phase, lesson, float(rate))
        memory.finish(phase, cohort.trained)
        cohort.note(lesson, taken)
        cohort.look(observe, phase + 1)
    return cohort.runs(teacher.curve_steps, teacher.curves)


def _streams(streams: object, networks: int) -> list[TaskStream]:
    """One a network."""
    every = [streams] * networks if isinstance(streams, TaskStream) else streams
    if not isinstance(every, Sequence) or not all(isinstance(stream, TaskStream) for stream in every):
        raise StudyError(
            f"streams must be a TaskStream, as load_stream and stream_of make them, or a list of them, one a "
            f"network; got {_short(streams)}"
        )
    return list(every)


def _seeds(seeds: Sequence[int]) -> list[int]:
    """Integers, one a network."""
    given: list[int] = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    for seed in given:
        if isinstance(seed, bool) or not isinstance(seed, Integral) or not -(2**63) <= seed < 2**64:
            raise StudyError(f"seeds must be integers of 64 bits, one a network, got {seed!r}")
    return [int(seed) for seed in given]


def _match_dtypes(networks: Sequence[nn.Module], streams: Sequence[TaskStream]) -> None:
    """Refuse networks of another precision than their streams: torch would say so in words of its own."""
    own = {p.dtype for p in networks[0].parameters()}
    for stream in streams:
        for task in stream.tasks:
            for x in (task.train.x, task.test.x):
                if own and x.dtype not in own:
                    here = min(own, key=str)
                    raise StudyError(
                        f"the networks compute in {here}, but task {task.name!r} of the stream {stream.name!r} is "
                        f"in {x.dtype}; give stream.to({here}), or networks of the stream's precision"
                    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _check_kinds(stop: object, method: object) -> None:
    if isinstance(stop, type) or not callable(getattr(stop, "limit", None)):
        raise StudyError(
            f"stop must be Steps, Epochs, UntilAccuracy or KernelTime, such as Steps(100); got {stop!r}"
        )
    if method is not None and not isinstance(method, Method):
        raise StudyError(
            f"method must be Joint(), OGD(), PCAOGD(), EWC(1.0) or Replay(10), or left out; got {method!r}"
        )


class _Teacher:
    """Takes the steps of one phase after the other."""

    def __init__(
        self,
        cohort: Cohort,
        memory: Memory,
        stop: Stopping,
        optimizer: str,
        momentum: float,
        batch_size: int | None,
        generators: Sequence[torch.Generator],
        curve_points: int,
    ) -> None:
        self._cohort, self._memory, self._stop = cohort, memory, stop
        self._optimizer, self._batch_size = optimizer, batch_size
        self._momentum = float(momentum) if optimizer == "sgd" else 0.0
        self._generators, self._points = generators, curve_points
        self._taken = torch.zeros(len(cohort.networks), dtype=torch.long)
        self.curve_steps: list[Tensor] = []
        self.curves: list[Tensor] = []

    def teach(self, phase: int, lesson: Lesson, rate: float) -> Tensor:
        """One phase; how many steps every network took, [M]."""
        cohort, size = self._cohort, min(self._batch_size or len(lesson), len(lesson))
        limit = self._stop.limit(phase, rate / (1 - self._momentum), len(lesson) // size)
        asked = set(_spaced(limit, self._points))
        update = self._update_rule(rate)
        batches = [minibatches(len(lesson), size, generator) for generator in self._generators]
        active, taken = ~cohort.diverged, torch.zeros(len(cohort.networks), dtype=torch.long)
        chosen = [torch.arange(size)] * len(batches)  # what a network is shown that diverged in an earlier phase
        for step in range(1, limit + 1):
            part = lesson
            if size < len(lesson):
                # A network that waits draws no examples, or its next task would depend on how long it waited.
                chosen = [
                    next(batch) if awake else last
                    for batch, awake, last in zip(batches, active.tolist(), chosen, strict=True)
                ]
                part = lesson.batch(torch.stack(chosen))
            loss = losses(cohort.loss, cohort.outputs(part.x), part) * (len(lesson) / size)
            fine = cohort.bounded(loss.detach())
            cohort.diverged |= active & ~fine
            active &= fine
            if not active.any():
                break
            self._step(update, loss, active)
            taken += active
            if step in asked:
                self.curve_steps.append(self._taken + taken)
                self.curves.append(cohort.tested())
            if self._reached(step, phase, active):
                break
        self._taken += taken
        cohort.watch(lesson)
        return taken

    def _step(self, update: UpdateRule, loss: Tensor, active: Tensor) -> None:
        """One update of the networks that are still active."""
        trained = self._cohort.trained
        penalty = self._memory.penalty(trained)
        # No network's loss depends on another's parameters: the gradient of the sum holds that of each.
        whole = (loss if penalty is None else loss + penalty).sum()
        found = torch.autograd.grad(whole, list(trained.values()), allow_unused=True, materialize_grads=True)
        gradients = self._memory.bend(dict(zip(trained, found, strict=True)))
        everyone = bool(active.all())
        before = {} if everyone else {k: p.detach().clone() for k, p in trained.items()}
        for name, p in trained.items():
            p.grad = gradients[name]
        update.step()
        with torch.no_grad():
            for name, old in before.items():
                p = trained[name]
                p.copy_(torch.where(active.view(-1, *[1] * (p.ndim - 1)), p, old))

    def _reached(self, step: int, phase: int, active: Tensor) -> bool:
        """Whether all networks have learned enough; those that have are no longer active."""
        target, every = self._stop.target, getattr(self._stop, "every", 1)
        if target is None or step % every:
            return False
        scores = self._cohort.fitted()
        joint = len(self._memory.phases()) < scores.shape[1]
        active &= ~((scores.mean(dim=1) if joint else scores[:, phase]) >= target)
        return not bool(active.any())

    def _update_rule(self, rate: float) -> UpdateRule:
        trained = self._cohort.trained
        rates = self._cohort.networks.rates(rate, self._optimizer)
        groups = [{"params": [p.requires_grad_()], "lr": rates[name]} for name, p in trained.items()]
        return update_rule(groups, self._optimizer, self._momentum)


def _spaced(limit: int, points: int) -> list[int]:
    """Steps from 1 to the limit in equal ratios."""
    if points < 1:
        return []
    return sorted({max(1, round(limit ** (i / points))) for i in range(1, points + 1)})
