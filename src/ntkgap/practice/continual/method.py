"""What a method against forgetting may do: choose the lessons, add to the loss, bend gradients, remember."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.practice.continual.lessons import Lesson
from ntkgap.practice.training.losses import OwnLoss
from ntkgap.practice.training.stacked import StackedNetworks

Tensors = dict[str, Tensor]
"""By name of the parameter, [M, ...] each."""


@dataclass(frozen=True)
class Learning:
    """What methods are told of the networks that learn.

    Attributes:
        networks: M of them.
        lessons: of every task.
        rates: learning rate of every parameter, relative to η.
        loss: its name, or one's own.
        generators: of what is remembered, one a network.
    """

    networks: StackedNetworks
    lessons: Sequence[Lesson]
    rates: dict[str, float]
    loss: str | OwnLoss
    generators: Sequence[torch.Generator]


class Memory:
    """What a method keeps while networks learn; this one keeps nothing, and does nothing.

    Args:
        learning: the networks.
    """

    def __init__(self, learning: Learning) -> None:
        self.learning = learning

    def phases(self) -> Sequence[Lesson]:
        """What is learned, one after the other; the tasks, as a rule."""
        return self.learning.lessons

    def penalty(self, trained: Tensors) -> Tensor | None:
        """What is added to the loss of every network, [M]."""
        return None

    def bend(self, gradients: Tensors) -> Tensors:
        """The gradients that are followed in place of these."""
        return gradients

    def finish(self, phase: int, trained: Tensors) -> None:
        """Remember what is needed of a phase that has ended."""


@dataclass(frozen=True)
class Method:
    """What is done against forgetting; settings alone."""

    def start(self, learning: Learning) -> Memory:
        """An empty memory."""
        return Memory(learning)


@dataclass(frozen=True)
class Plain(Method):
    """Nothing: one task after the other."""


class _JointMemory(Memory):
    def phases(self) -> Sequence[Lesson]:
        return [Lesson.joined(self.learning.lessons)]


@dataclass(frozen=True)
class Joint(Method):
    """All tasks at once, in a single phase: what there is to be had if nothing must be forgotten.

    Example:
        >>> ng.continual.Joint()
        Joint()
    """

    def start(self, learning: Learning) -> Memory:
        """A memory of all lessons."""
        return _JointMemory(learning)
