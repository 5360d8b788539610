"""Networks that learn together, and what was noted of them after every task."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ntkgap.data import TaskStream, score
from ntkgap.errors import StudyError
from ntkgap.practice.continual.lessons import Lesson, losses, stacked
from ntkgap.practice.continual.method import Learning, Tensors
from ntkgap.practice.continual.task_runs import TaskRuns
from ntkgap.practice.training.curves import DIVERGENCE_FACTOR
from ntkgap.practice.training.losses import OwnLoss
from ntkgap.practice.training.network_modes import PROBED
from ntkgap.practice.training.stacked import StackedNetworks

Observer = Callable[[int, Callable[[int], nn.Module]], None]
"""Called with the number of phases that are done, and with a function that gives network i as it is then."""


class Cohort:
    """M networks, their streams, and what was noted of them after every phase, on the CPU.

    Args:
        networks: of one architecture; they are not changed.
        streams: one a network, all of the same sizes.
        loss: ``"squared"`` or ``"cross_entropy"``, or one's own.
        seeds: one a network, of masks and of what is remembered.

    Attributes:
        networks: with their parameters stacked.
        trained: those parameters, changed in place by whoever trains.
        lessons: of every task.
        diverged: which networks have, [M].

    Raises:
        StudyError: if the networks have too few outputs, or tasks differ in size.
        ModelError: if networks differ in architecture, or what they say about a point depends on other points.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        streams: Sequence[TaskStream],
        loss: str | OwnLoss,
        seeds: Sequence[int],
    ) -> None:
        self._tests = [stacked([s.tasks[t].test.x for s in streams]) for t in range(len(streams[0]))]
        self.networks = StackedNetworks(
            networks, self._tests[0][:, :PROBED], each=True, generators=_sources(seeds, "masks")
        )
        self.memories = _sources(seeds, "memories")
        self.streams, self.loss = streams, loss
        self.trained: Tensors = self.networks.trained
        self._start = {k: p.clone() for k, p in self.trained.items()}
        self._before = self._start
        outputs = self._outputs(self._tests[0][:, :1]).shape[-1]
        if outputs < streams[0].n_outputs:
            raise StudyError(
                f"the networks have {outputs} outputs, but the stream {streams[0].name!r} is about "
                f"{streams[0].n_outputs}; build them with that many"
            )
        self.lessons = [Lesson.of(streams, t, outputs) for t in range(len(streams[0]))]
        self.diverged = torch.zeros(len(networks), dtype=torch.bool)
        self.initial = self.tested()
        self.initial_losses = torch.stack([self._losses(lesson) for lesson in self.lessons], dim=1)
        self._noted: dict[str, list[Tensor]] = {}

    def learning(self, kind: str | None) -> Learning:
        """What methods are told; the kind of optimizer is None where it knows its own learning rates."""
        rates = dict.fromkeys(self.trained, 1.0) if kind is None else self.networks.rates(1.0, kind)
        return Learning(self.networks, self.lessons, rates, self.loss, self.memories)

    def outputs(self, x: Tensor) -> Tensor:
        """Of every network on inputs of its own, [M, n, C], as an update takes them, differentiable."""
        return self.networks.learning_outputs(self.trained, x, each=True)

    def _outputs(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.networks.outputs(self.trained, x, each=True)

    def tested(self) -> Tensor:
        """Scores on the test sets, [M, T]."""
        return self._scores(dict(enumerate(self._tests)), "test")

    def fitted(self, tasks: Sequence[int] | None = None) -> Tensor:
        """Scores on the training sets of some tasks, all if not given, [M, T]."""
        asked = range(len(self.lessons)) if tasks is None else tasks
        return self._scores({t: self.lessons[t].x for t in asked}, "train")

    def _scores(self, inputs: Mapping[int, Tensor], part: str) -> Tensor:
        found = []
        for t, x in inputs.items():
            outputs = self._outputs(x)
            tasks = [stream.tasks[t] for stream in self.streams]
            found.append(
                torch.stack(
                    [score(f, getattr(task, part), task.columns) for f, task in zip(outputs, tasks, strict=True)]
                )
            )
        scores = torch.stack(found, dim=1).double().cpu()
        return scores.masked_fill(self.diverged[:, None], torch.nan)

    def watch(self, lesson: Lesson) -> None:
        """Notice networks that have diverged on a lesson."""
        self.diverged |= ~self.bounded(self._losses(lesson))

    def bounded(self, losses: Tensor) -> Tensor:
        """Whether losses are finite and not a million times the one on all tasks before training, [M].

        That one, and not the loss at a phase's start: what is learned already may well grow a million times.
        """
        # One's own may begin at or below zero.
        least = 1.0 if isinstance(self.loss, OwnLoss) else torch.finfo(losses.dtype).eps
        start = self.initial_losses.sum(dim=1).abs().clamp_min(least)
        return torch.isfinite(losses) & (losses <= DIVERGENCE_FACTOR * start)

    def note(self, lesson: Lesson, taken: Tensor) -> None:
        """Keep what is to be known after a phase."""
        found = {
            "scores": self.tested(),
            "train_scores": self.fitted(),
            "train_losses": self._losses(lesson).masked_fill(self.diverged, torch.nan),
            "steps": taken,
            "moved": self._distance(self._before),
            "distance": self._distance(self._start),
        }
        for name, value in found.items():
            self._noted.setdefault(name, []).append(value)
        self._before = {k: p.detach().clone() for k, p in self.trained.items()}

    def _losses(self, lesson: Lesson) -> Tensor:
        """On a lesson, [M]."""
        return losses(self.loss, self._outputs(lesson.x), lesson).double().cpu()

    def _distance(self, place: Tensors) -> Tensor:
        squares = [
            (p.detach() - place[k]).double().square().flatten(1).sum(dim=1) for k, p in self.trained.items()
        ]
        return sum(squares[1:], start=squares[0]).sqrt().cpu()

    def look(self, observe: Observer | None, done: int) -> None:
        """Let someone see the networks."""
        if observe is not None:
            now = {k: p.detach().clone() for k, p in self.trained.items()}
            observe(done, lambda i: self.networks.network(i, now))

    def runs(self, curve_steps: list[Tensor], curves: list[Tensor]) -> TaskRuns:
        """Everything that was noted."""
        noted = {name: torch.stack(values, dim=1) for name, values in self._noted.items()}
        networks = len(self.networks)
        return TaskRuns(
            **noted,
            initial=self.initial,
            initial_losses=self.initial_losses,
            diverged=self.diverged,
            curve_steps=torch.stack(curve_steps, dim=1) if curves else torch.zeros(networks, 0, dtype=torch.long),
            curves=torch.stack(curves, dim=1)
            if curves
            else torch.zeros(networks, 0, len(self.lessons), dtype=torch.float64),
        )


def remembered(stream: TaskStream, examples: int | None, seed: int) -> list[Lesson]:
    """What a network of this seed stores of every task by a method that stores so many examples; all if None."""
    memories = _sources([seed], "memories")
    lessons = [Lesson.of([stream], t, stream.n_outputs) for t in range(len(stream))]
    return [lesson.drawn(len(lesson) if examples is None else examples, memories) for lesson in lessons]


def _sources(seeds: Sequence[int], purpose: str) -> list[torch.Generator]:
    """A source of randomness for every network and purpose, apart from that of the order of examples."""
    found = []
    for seed in seeds:
        entropy = [seed % 2**64, *purpose.encode()]
        number = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
        found.append(torch.Generator().manual_seed(number))
    return found
