"""The rule by which parameters follow gradients, and the updates of one network by it."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ntkgap.errors import NtkgapError, StudyError
from ntkgap.practice.checks import check_clip, check_momentum, check_weight_decay
from ntkgap.practice.training.losses import name_of
from ntkgap.practice.training.optimizer_choice import Rates, check_optimizer, make_optimizer, takes_closure
from ntkgap.practice.training.schedules import Schedule, is_of_steps


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


class Updates:
    """The optimizer of one network, step after step.

    Args:
        rule: which.
        parameters: what is trained, by name.
        rates: learning rates of these; None where the optimizer knows its own.

    Attributes:
        taken: updates so far, in earlier trainings that are gone on with too.
        optimizer: the optimizer.

    Raises:
        StudyError: if the optimizer or the schedule cannot be made of the parameters, or fails.
    """

    def __init__(self, rule: Rule, parameters: Mapping[str, Tensor], rates: Rates | None) -> None:
        self._rule, self._parameters = rule, parameters
        self.taken = 0
        self.optimizer = make_optimizer(
            rule.optimizer,
            parameters,
            rates,
            momentum=rule.momentum,
            weight_decay=rule.weight_decay,
            torch_only=rule.with_scheduler,
        )
        self._schedule = Schedule(rule.schedule, self.optimizer)
        self._asks_itself = takes_closure(self.optimizer)

    def step(self, loss: Callable[[], Tensor], recorded: float) -> None:
        """One update.

        Args:
            loss: gives the loss at the present parameters, with its graph; called once, or as often as the
                optimizer asks.
            recorded: the loss that was last recorded, for schedules that look at it.
        """

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            found = loss()
            found.backward()
            if self._rule.clip is not None:
                torch.nn.utils.clip_grad_norm_(list(self._parameters.values()), self._rule.clip)
            return found

        self._schedule.before(self.taken)
        if self._asks_itself:
            self._guarded(lambda: self.optimizer.step(closure))  # type: ignore[call-arg]  # torch's own
        else:
            closure()
            self._guarded(self.optimizer.step)
        self.taken += 1
        self._schedule.after(recorded)

    def follow(self, recorded: float) -> None:
        """One update along the gradients that the parameters have already."""
        if self._rule.clip is not None:
            torch.nn.utils.clip_grad_norm_(list(self._parameters.values()), self._rule.clip)
        self._schedule.before(self.taken)
        self._guarded(self.optimizer.step)
        self.taken += 1
        self._schedule.after(recorded)

    def forget(self) -> None:
        """Drop the gradients."""
        self.optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        """What it takes to go on from here; later updates do not change it."""
        kept = {"optimizer": self.optimizer.state_dict(), "schedule": self._schedule.state(), "taken": self.taken}
        return copy.deepcopy(kept)

    def go_on(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            StudyError: if it is not that of this optimizer on these parameters.
        """
        try:
            kept = copy.deepcopy({key: state[key] for key in ("optimizer", "schedule", "taken")})
            self.optimizer.load_state_dict(kept["optimizer"])
            self._schedule.go_on(kept["schedule"])
            self.taken = kept["taken"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StudyError(
                f"state does not go with optimizer={self._name()} and this model ({error}); give the dictionary "
                f"that "
                "train filled with the same optimizer, schedule and architecture, or an empty one to begin anew"
            ) from error

    def _guarded(self, step: Callable[[], object]) -> None:
        """What goes wrong in a user's optimizer is said so."""
        if self._rule.by_name:
            step()
            return
        try:
            step()
        except NtkgapError:
            raise
        except Exception as error:
            raise StudyError(f"optimizer={self._name()} failed at step {self.taken}: {error}") from error

    def _name(self) -> str:
        return repr(self._rule.optimizer) if self._rule.by_name else name_of(self._rule.optimizer)
