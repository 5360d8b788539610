"""When the training of a task ends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

from ntkgap.errors import StudyError


class Stopping(Protocol):
    """Says after how many updates a task is left at the latest, and whether earlier."""

    def limit(self, phase: int, step: float, updates_an_epoch: int) -> int:
        """Updates of a phase at most.

        Args:
            phase: which, from 0.
            step: η/(1 − μ), the learning rate and the momentum of ``"sgd"``; η for other optimizers.
            updates_an_epoch: of one pass over the examples.
        """
        ...

    @property
    def target(self) -> float | None:
        """Score on the phase's training examples at which it ends earlier; None for never."""
        ...


@dataclass(frozen=True)
class Steps:
    """So many updates a task, or for each task its own number.

    Raises:
        StudyError: if a number is not an integer of at least 1.

    Example:
        >>> ng.continual.Steps(100)
        Steps(steps=100)
    """

    steps: int | Sequence[int]

    def __post_init__(self) -> None:
        for n in self.steps if isinstance(self.steps, list | tuple) else [self.steps]:
            _check_count("steps", n)

    def check(self, phases: int) -> None:
        """Compare with how many phases there are.

        Raises:
            StudyError: if there are several numbers, and not one a phase.
        """
        if not isinstance(self.steps, int) and len(self.steps) != phases:
            raise StudyError(
                f"steps has {len(self.steps)} numbers, but there are {phases} tasks to learn one after the other; "
                f"give one a task, or one for all"
            )

    def limit(self, phase: int, step: float, updates_an_epoch: int) -> int:
        """That number."""
        return self.steps if isinstance(self.steps, int) else self.steps[phase]

    @property
    def target(self) -> None:
        """None."""
        return None


@dataclass(frozen=True)
class Epochs:
    """So many passes over a task's training examples.

    Raises:
        StudyError: if it is not an integer of at least 1.

    Example:
        >>> ng.continual.Epochs(3)
        Epochs(epochs=3)
    """

    epochs: int

    def __post_init__(self) -> None:
        _check_count("epochs", self.epochs)

    def limit(self, phase: int, step: float, updates_an_epoch: int) -> int:
        """Updates of all passes."""
        return self.epochs * updates_an_epoch

    @property
    def target(self) -> None:
        """None."""
        return None


@dataclass(frozen=True)
class UntilAccuracy:
    """Until the task's training examples reach a score, accuracy or explained variance.

    Attributes:
        accuracy: that score, above 0 and at most 1.
        at_most: updates after which a task is left anyway.
        every: updates from one look at the score to the next.

    Raises:
        StudyError: if a setting is no number, or out of range.

    Example:
        >>> ng.continual.UntilAccuracy(0.95, at_most=500)
        UntilAccuracy(accuracy=0.95, at_most=500, every=10)
    """

    accuracy: float
    at_most: int = 10_000
    every: int = 10

    def __post_init__(self) -> None:
        _check_real("accuracy", self.accuracy)
        if not 0 < self.accuracy <= 1:
            raise StudyError(f"accuracy must be above 0 and at most 1, got {self.accuracy!r}")
        _check_count("at_most", self.at_most)
        _check_count("every", self.every)

    def limit(self, phase: int, step: float, updates_an_epoch: int) -> int:
        """At most so many."""
        return self.at_most

    @property
    def target(self) -> float:
        """The score."""
        return self.accuracy


@dataclass(frozen=True)
class KernelTime:
    """For a time ηt of gradient flow on ½‖f − y‖²: as many steps as the optimizer takes to get there.

    A step of plain descent takes η; with momentum μ, once its velocity has built up, η/(1 − μ). Adam's steps do
    not follow gradient flow: it has no such time.

    Raises:
        StudyError: if it is not a positive, finite number.

    Example:
        >>> ng.continual.KernelTime(2.5)
        KernelTime(time=2.5)
    """

    time: float

    def __post_init__(self) -> None:
        _check_real("time", self.time)
        if not 0 < self.time < math.inf:
            raise StudyError(f"time must be positive and finite, got {self.time!r}")

    def limit(self, phase: int, step: float, updates_an_epoch: int) -> int:
        """round(t(1 − μ)/η).

        Raises:
            StudyError: if a single step is longer than that.
        """
        steps = round(self.time / step)
        if steps < 1:
            raise StudyError(
                f"the kernel time {self.time:g} is less than half a step, learning_rate / (1 - momentum) = "
                f"{step:g}; lower the learning rate or train for longer"
            )
        return steps

    @property
    def target(self) -> None:
        """None."""
        return None


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise StudyError(f"{name} must be an integer of at least 1, got {value!r}")


def _check_real(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise StudyError(f"{name} must be a number, got {value!r}")
