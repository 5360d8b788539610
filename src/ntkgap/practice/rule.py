"""By which rule parameters follow gradients: optimizer, learning rate, schedule, decay, clipping."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ntkgap.practice.checks import check_clip, check_momentum, check_weight_decay
from ntkgap.practice.optimizers import check_optimizer
from ntkgap.practice.schedules import is_of_steps


@dataclass(frozen=True)
class Rule:
    """What ``train`` and its relatives take of their optimizer, checked; see there.

    Attributes:
        optimizer: a name, a class or a function.
        learning_rate: η; None where a function that makes an optimizer knows it.
        momentum: of ``"sgd"``.
        weight_decay: λ.
        schedule: of the learning rate.
        clip: largest norm of a gradient.

    Raises:
        StudyError: naming what is out of range.
    """

    optimizer: Any = "gd"
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Callable[[Any], Any] | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        check_optimizer(self.optimizer, self.learning_rate, self.weight_decay)
        check_momentum(self.momentum)
        check_weight_decay(self.weight_decay)
        check_clip(self.clip)
        if self.schedule is not None:
            is_of_steps(self.schedule)

    @property
    def by_name(self) -> bool:
        """Whether the optimizer is one of ours."""
        return isinstance(self.optimizer, str)

    @property
    def with_scheduler(self) -> bool:
        """Whether the schedule is a scheduler of torch, which knows only torch's optimizers."""
        return self.schedule is not None and not is_of_steps(self.schedule)
