"""Learning rates that change from step to step: a factor for every step, or a scheduler of torch."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ntkgap.errors import StudyError
from ntkgap.practice.training.losses import name_of
from ntkgap.practice.training.update_rules import UpdateRule


def is_of_steps(schedule: Any) -> bool:
    """Whether a schedule is a function of the step; else it makes a scheduler of torch from an optimizer.

    Raises:
        StudyError: if it is no function, or a factor is negative or not finite.
    """
    if not callable(schedule):
        raise StudyError(
            f"schedule must be a function step -> factor, or one of an optimizer that returns a scheduler of "
            f"torch.optim.lr_scheduler; got {schedule!r}"
        )
    try:
        found = schedule(0)
    except Exception:  # what takes an optimizer does whatever it likes with a number
        return False
    if not isinstance(found, Real | torch.Tensor):
        return False
    _checked(schedule, 0, found)
    return True


class Schedule:
    """The learning rates of one optimizer, step after step.

    Args:
        schedule: as ``train`` takes it; None for rates that stay.
        update: the optimizer.

    Raises:
        StudyError: if the schedule fails or returns no scheduler; by ``before``, if a factor is negative or not
            finite.
    """

    def __init__(self, schedule: Any, update: UpdateRule) -> None:
        self._update = update
        self._factor: Callable[[int], Any] | None = None
        self._scheduler: Any = None
        self._rates = [group["lr"] for group in update.param_groups]
        if schedule is None:
            return
        if is_of_steps(schedule):
            self._factor = schedule
        else:
            self._scheduler = _scheduler(schedule, update)

    def before(self, step: int) -> None:
        """Set the rates of a step."""
        if self._factor is None:
            return
        factor = _checked(self._factor, step, self._factor(step))
        for group, rate in zip(self._update.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def after(self, loss: float) -> None:
        """Tell a scheduler of torch that a step was taken, with this loss before it."""
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.step(loss)
        elif self._scheduler is not None:
            self._scheduler.step()

    def state(self) -> dict[str, Any] | None:
        """Of a scheduler of torch."""
        return None if self._scheduler is None else self._scheduler.state_dict()

    def go_on(self, state: dict[str, Any] | None) -> None:
        """From there."""
        if self._scheduler is not None and state is not None:
            self._scheduler.load_state_dict(state)


def _scheduler(schedule: Callable[[Any], Any], update: UpdateRule) -> Any:
    try:
        found = schedule(update)
    except Exception as error:
        raise StudyError(
            f"schedule={name_of(schedule)} took neither a step (0 -> a factor of the learning rate) nor an "
            f"optimizer: "
            f"{error}"
        ) from error
    if not isinstance(found, LRScheduler | ReduceLROnPlateau):
        raise StudyError(
            f"schedule={name_of(schedule)} returned {found!r}; return a factor of the learning rate, at least 0, "
            f"for "
            "a step, or for an optimizer a scheduler of torch.optim.lr_scheduler"
        )
    if found.optimizer is not update:
        raise StudyError(f"schedule={name_of(schedule)} is about another optimizer than the one it was given")
    return found


def _checked(schedule: Any, step: int, factor: Any) -> float:
    if isinstance(factor, torch.Tensor) and factor.numel() == 1:
        factor = factor.item()
    if not isinstance(factor, Real) or not 0 <= float(factor) < math.inf:
        raise StudyError(
            f"schedule={name_of(schedule)} gives {factor!r} at step {step}; a factor of the learning rate is "
            f"finite "
            "and at least 0"
        )
    return float(factor)
