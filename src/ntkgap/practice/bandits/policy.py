"""What a bandit policy is: it decides, it learns, and it can say how sure it was."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Generator, Tensor

from ntkgap.errors import StudyError
from ntkgap.one_line import line_of, one_line

# Numbers tie that differ by no more than so many roundings of the largest of them.
ROUNDINGS = 8

Exploration = Callable[[int, float], float]
"""Factor γ of the confidence width after so many rounds and with this log det Z/det λI."""


class Diverged(StudyError):
    """A policy's network no longer gives finite numbers."""


@dataclass(frozen=True)
class Decision:
    """A chosen arm, and why.

    Attributes:
        arm: its index.
        mean: what the policy expects of every arm, [K]; None if it has no expectations.
        half_width: of the confidence interval mean ± half_width that it explored with, [K]; None if it has none.
    """

    arm: int
    mean: Tensor | None = None
    half_width: Tensor | None = None

    __repr__ = one_line


class Policy(ABC):
    """Chooses an arm a round, and learns what that arm paid.

    Both methods get the context and what a network is fed for it (see ``Environment.inputs``); each policy uses
    what it understands.

    Attributes:
        arms: K that it was built for; None where it takes as many as it is asked about.
        played: whether it has played a game, and knows what was paid there; set by ``play``.
        ties: source of the choices among arms that look equally good; set by ``play``, of seed 0 if not given.
        coming: what a network will be fed in the rounds from one number (the first is 0) up to another; set by
            ``play``. Choices do not change contexts, so that gradients at many of them may be computed at once.
    """

    arms: int | None = None
    played: bool = False
    ties: Generator | None = None
    coming: Callable[[int, int], list[Tensor]] | None = None

    def __repr__(self) -> str:
        return line_of(self, arms=self.arms, played=self.played)

    @abstractmethod
    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Choose.

        Args:
            context: x, [d].
            inputs: for a network whose flattened outputs are one number an arm.

        Raises:
            Diverged: if there are no finite numbers to choose by.
        """

    @abstractmethod
    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Take in what the chosen arm paid; called once after each ``decide``.

        Raises:
            Diverged: if the network's parameters are not finite after training.
        """

    def best(self, values: Tensor) -> int:
        """The arm of the largest of the values [K]; if several have it up to rounding, one of them at random.

        A network that starts at zero expects the same of all arms. Were ties to go to the first, the order of the
        arms would decide the game. NaN counts as the largest: ``play`` refuses what comes of it.
        """
        if self.ties is None:
            self.ties = Generator().manual_seed(0)
        return _largest(values, self.ties)

    def diagnose(self) -> dict[str, float]:
        """What explains the policy's regret so far, by name: drift of its kernel and parameters, and the like."""
        return {}


def constant_exploration(exploration: Exploration | float) -> Exploration:
    """The schedule itself; for a number, the schedule that always has this value.

    Raises:
        StudyError: if it is neither callable nor a finite number of at least 0.
    """
    if callable(exploration):
        return exploration
    if isinstance(exploration, bool) or not isinstance(exploration, Real) or not 0 <= exploration < float("inf"):
        raise StudyError(
            f"exploration must be finite and at least 0, or a schedule (rounds, log det) → γ, got {exploration!r}"
        )
    return _Constant(float(exploration))


def _largest(values: Tensor, generator: Generator) -> int:
    """Index of the largest value, drawn where several are the largest up to rounding."""
    top, finite = values.max(), values[torch.isfinite(values)]
    tied = values == top
    if len(finite):
        tied |= top - values <= ROUNDINGS * torch.finfo(values.dtype).eps * finite.abs().max()
    among = tied.nonzero()[:, 0]
    if len(among) < 2:
        return int(values.argmax())
    return int(among[torch.randint(len(among), (), generator=generator)])


@dataclass(frozen=True)
class _Constant:
    """A factor that does not change."""

    factor: float

    def __call__(self, rounds: int, log_determinant: float) -> float:
        return self.factor
