"""Experience replay: stored examples of earlier tasks are rehearsed with every step."""

from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.continual.lessons import Lesson, losses
from ntkgap.practice.continual.method import Learning, Memory, Method, Tensors
from ntkgap.practice.training.losses import OwnLoss


@dataclass(frozen=True)
class Replay(Method):
    r"""Rehearse stored examples of every earlier task (Chaudhry et al. 2019).

    .. math:: L_t + w \sum_{s < t} L_s^{\text{stored}}

    They are drawn at random by the network's seed, of each class as many as of the others.

    Attributes:
        examples: stored of every task.
        weight: w; if not given the number of examples of a task over the number stored, so that the sum estimates
            the loss on all of them. For a loss of one's own, which may be a mean, 1.

    Raises:
        StudyError: if a number is out of range.

    Example:
        >>> ng.continual.Replay(examples=10)
        Replay(examples=10, weight=None)
    """

    examples: int
    weight: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.examples, bool) or not isinstance(self.examples, int) or self.examples < 1:
            raise StudyError(f"examples must be an integer of at least 1, got {self.examples!r}")
        weight = 1.0 if self.weight is None else self.weight
        if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 < weight < float("inf"):
            raise StudyError(f"weight must be positive and finite, got {self.weight!r}")

    def start(self, learning: Learning) -> Memory:
        """An empty store."""
        return _Stored(learning, self)


class _Stored(Memory):
    def __init__(self, learning: Learning, method: Replay) -> None:
        super().__init__(learning)
        self._method = method
        self._stored: list[tuple[float, Lesson]] = []
        self._inputs: Tensor | None = None

    def penalty(self, trained: Tensors) -> Tensor | None:
        if self._inputs is None:
            return None
        outputs = self.learning.networks.learning_outputs(trained, self._inputs, each=True)
        parts = outputs.split([len(lesson) for _, lesson in self._stored], dim=1)
        weighted = [
            weight * losses(self.learning.loss, part, lesson)
            for part, (weight, lesson) in zip(parts, self._stored, strict=True)
        ]
        return sum(weighted[1:], start=weighted[0])

    def finish(self, phase: int, trained: Tensors) -> None:
        lesson = self.learning.lessons[phase]
        kept = lesson.drawn(self._method.examples, self.learning.generators)
        weight = self._method.weight
        if weight is None:
            weight = 1.0 if isinstance(self.learning.loss, OwnLoss) else len(lesson) / len(kept)
        self._stored.append((weight, kept))
        self._inputs = torch.cat([lesson.x for _, lesson in self._stored], dim=1)
