"""How networks are taught one phase after the other: by updates, or by a training function of one's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ntkgap.data import Dataset
from ntkgap.practice.continual.cohort import Cohort, Observer
from ntkgap.practice.continual.lessons import Lesson, losses
from ntkgap.practice.continual.method import Joint, Memory, Method
from ntkgap.practice.continual.stopping import Stopping
from ntkgap.practice.training.batches import Minibatches
from ntkgap.practice.training.losses import OwnLoss, check_gradient
from ntkgap.practice.training.own_fit import Fit, call_fit
from ntkgap.practice.training.stacked_updates import StackedUpdates
from ntkgap.practice.training.updates import Rule

# Updates of a phase at most, as far as masks are concerned: each has its own.
PHASE = 2**40


@dataclass(frozen=True)
class Batching:
    """How examples are shown.

    Attributes:
        size: examples an update; all if not given.
        keep_last: whether a smaller last batch is shown.
        generators: of their order, one a network.
    """

    size: int | None
    keep_last: bool
    generators: Sequence[torch.Generator]

    def of(self, lesson: Lesson) -> list[Minibatches]:
        """The batches of a phase, of every network."""
        n = len(lesson)
        return [Minibatches(n, self.size or n, generator, self.keep_last) for generator in self.generators]


class Teacher:
    """Takes the steps of one phase after the other."""

    def __init__(
        self, cohort: Cohort, memory: Memory, stop: Stopping, batching: Batching, curve_points: int
    ) -> None:
        self._cohort, self._memory, self._stop = cohort, memory, stop
        self._batching, self._points = batching, curve_points
        self._taken = torch.zeros(len(cohort.networks), dtype=torch.long)
        self.curve_steps: list[Tensor] = []
        self.curves: list[Tensor] = []

    def teach(self, phase: int, lesson: Lesson, rule: Rule, multiples: Tensor | None = None) -> Tensor:
        """One phase; how many steps every network took, [M].

        Args:
            phase: its number.
            lesson: what is shown.
            rule: how networks follow.
            multiples: η of every network as a multiple of the rule's, [M]; 1 if not given.
        """
        cohort, batches = self._cohort, self._batching.of(lesson)
        limit = self._stop.limit(phase, _step_size(rule), batches[0].in_a_pass)
        asked = set(_spaced(limit, self._points))
        updates = StackedUpdates(rule, cohort.networks, rule.learning_rate)
        if multiples is not None:
            multiples = multiples.to(next(iter(cohort.trained.values())))
        active, taken = ~cohort.diverged, torch.zeros(len(cohort.networks), dtype=torch.long)
        for step in range(1, limit + 1):
            part = self._shown(lesson, batches, active)
            cohort.networks.begin(phase * PHASE + step, active)
            loss = losses(cohort.loss, cohort.outputs(part.x), part)
            check_gradient(cohort.loss, loss)
            if not isinstance(cohort.loss, OwnLoss):
                loss = loss * (len(lesson) / part.x.shape[1])
            fine = cohort.bounded(loss.detach().cpu())
            cohort.diverged |= active & ~fine
            active &= fine
            if not active.any():
                break
            self._step(updates, loss, active, multiples)
            taken += active
            if step in asked:
                self.curve_steps.append(self._taken + taken)
                self.curves.append(cohort.tested())
            if self._reached(step, phase, active):
                break
        self._taken += taken
        cohort.watch(lesson)
        return taken

    def _shown(self, lesson: Lesson, batches: list[Minibatches], active: Tensor) -> Lesson:
        """The examples of one update."""
        if self._batching.size in (None, len(lesson)):
            return lesson
        # A network that waits draws no examples, or its next task would depend on how long it waited.
        drawn = [next(batch) if awake else None for batch, awake in zip(batches, active.tolist(), strict=True)]
        size = next(len(batch) for batch in drawn if batch is not None)
        return lesson.batch(torch.stack([torch.arange(size) if batch is None else batch for batch in drawn]))

    def _step(self, updates: StackedUpdates, loss: Tensor, active: Tensor, multiples: Tensor | None) -> None:
        """One update of the networks that are still active."""
        trained = self._cohort.trained
        penalty = self._memory.penalty(trained)
        whole = loss if penalty is None else loss + penalty
        # No network's loss depends on another's parameters: the gradient of the sum holds that of each.
        found = torch.autograd.grad(whole.sum(), list(trained.values()), allow_unused=True, materialize_grads=True)
        gradients = self._memory.bend(dict(zip(trained, found, strict=True)))
        if multiples is not None:
            gradients = {k: g * multiples.to(g).view(-1, *[1] * (g.ndim - 1)) for k, g in gradients.items()}
        updates.follow(gradients, whole.detach(), active.to(whole.device))

    def _reached(self, step: int, phase: int, active: Tensor) -> bool:
        """Whether all networks have learned enough; those that have are no longer active."""
        target, every = self._stop.target, getattr(self._stop, "every", 1)
        if target is None or step % every:
            return False
        tasks = len(self._cohort.lessons)
        joint = len(self._memory.phases()) < tasks
        asked = range(tasks) if joint else (phase,)
        active &= ~(self._cohort.fitted(asked).mean(dim=1) >= target)
        return not bool(active.any())


def let_fit(fit: Fit, cohort: Cohort, method: Method, seeds: Sequence[int], observe: Observer | None) -> None:
    """Let a training function teach every phase to every network; it counts as one step."""
    memory = method.start(cohort.learning(None))
    cohort.look(observe, 0)
    for phase, lesson in enumerate(memory.phases()):
        for i, seed in enumerate(seeds):
            if cohort.diverged[i]:
                continue
            tasks = cohort.streams[i].tasks
            parts = [task.train for task in (tasks if isinstance(method, Joint) else tasks[phase : phase + 1])]
            data = Dataset(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]), parts[0].n_classes)
            cohort.networks.train_alone(i, partial(call_fit, fit, data=data, seed=seed))
            cohort.diverged[i] |= not all(bool(torch.isfinite(p[i]).all()) for p in cohort.trained.values())
        cohort.watch(lesson)
        cohort.note(lesson, (~cohort.diverged).long())
        cohort.look(observe, phase + 1)


def _step_size(rule: Rule) -> float:
    """η/(1 − μ), as ``KernelTime`` counts it; 1 where the optimizer alone knows it."""
    rate = 1.0 if rule.learning_rate is None else float(rule.learning_rate)
    return rate / (1 - float(rule.momentum)) if rule.optimizer == "sgd" else rate


def _spaced(limit: int, points: int) -> list[int]:
    """Steps from 1 to the limit in equal ratios."""
    if points < 1:
        return []
    return sorted({max(1, round(limit ** (i / points))) for i in range(1, points + 1)})
