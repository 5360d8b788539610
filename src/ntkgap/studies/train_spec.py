"""How a user trains: optimizer, loss and what else ``ntkgap.train`` takes, by name or as functions."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from pydantic import Field, ValidationError, model_validator
from torch import nn

from ntkgap.data import Dataset
from ntkgap.errors import StudyError
from ntkgap.models import learning_rate_factor
from ntkgap.practice import train
from ntkgap.practice.training.optimizer_choice import is_adaptive
from ntkgap.practice.training.schedules import is_of_steps
from ntkgap.studies.factories import known_factory
from ntkgap.studies.faults import faults
from ntkgap.studies.model import OwnCode
from ntkgap.studies.spec import Spec

NAMED = ("gd", "sgd", "adam")

# μ of "sgd", as of ``ntkgap.train``.
MOMENTUM = 0.9

# Under these losses outputs are logits, not what targets are expected to be.
OF_LOGITS = ("cross_entropy", "CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss")

OF_UPDATES = ("learning_rate", "momentum", "weight_decay", "clip", "batch_size", "schedule", "steps")


class TrainSpec(Spec):
    """How a user trains; see ``ntkgap.train``.

    Attributes:
        optimizer: ``"gd"``, ``"sgd"``, ``"adam"``, the name of a class of ``torch.optim``, or a function.
        loss: ``"squared"`` or ``"cross_entropy"`` (sums), the name of a loss of ``torch.nn``, or a user's own.
        learning_rate: η; not of an optimizer that a function makes with its own.
        momentum: of ``"sgd"`` alone; 0.9 if not given.
        weight_decay: λ, to zero.
        clip: largest norm of a gradient.
        batch_size: examples an update; all if not given.
        schedule: a user's function of the step that gives a factor of η, or of the optimizer that gives a
            scheduler of torch; none if not given.
        steps: number of updates; of all but ``fit``.
        fit: a user's own training function (model, data, seed) -> None, in place of all that.
    """

    optimizer: str | OwnCode = "sgd"
    loss: str | OwnCode = "squared"
    learning_rate: float | None = Field(default=None, gt=0)
    momentum: float | None = Field(default=None, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float | None = Field(default=None, gt=0)
    batch_size: int | None = Field(default=None, ge=1)
    schedule: OwnCode | None = None
    steps: int | None = Field(default=None, ge=1)
    fit: OwnCode | None = None

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if isinstance(self.optimizer, str) and self.optimizer not in NAMED:
            _torch_class(torch.optim, self.optimizer, torch.optim.Optimizer)
        if isinstance(self.loss, str) and self.loss not in ("squared", "cross_entropy"):
            _torch_class(nn, self.loss, nn.modules.loss._Loss)
        return self

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        """No setting is left out that is needed, and none given that nobody would see."""
        named = isinstance(self.optimizer, str)
        own = self.optimizer if isinstance(self.optimizer, str) else self.optimizer.factory
        given = {name for name in OF_UPDATES if getattr(self, name)}
        if self.fit is not None:
            if given:
                raise ValueError(f"fit trains in its own way and would not see {', '.join(sorted(given))}")
            return self
        needed = ["steps"] + (["learning_rate"] if named else [])
        if missing := [name for name in needed if name not in given]:
            raise ValueError(f"optimizer {own!r} needs {', '.join(missing)}")
        if self.momentum is not None and self.optimizer != "sgd":
            raise ValueError(f"optimizer {own!r} would not see momentum; write 'sgd', or a function that sets it")
        if self.weight_decay and not named:
            raise ValueError(
                f"optimizer {own!r} is made by a function and would not see weight_decay; set it there"
            )
        if self.batch_size is not None and self.optimizer == "gd":
            raise ValueError("optimizer 'gd' takes all examples at once: no batch_size")
        return self

    @classmethod
    def of(cls, given: Any) -> dict[str, Any]:
        """Settings as a user gives them: a training function or its place, or a mapping with functions in it.

        Raises:
            StudyError: if a function cannot be loaded or called, or a setting is out of range.
        """
        found = dict(given) if isinstance(given, Mapping) else {"fit": given}
        for name, package in (("optimizer", torch.optim), ("loss", nn)):
            value = found.get(name)
            known = getattr(value, "__name__", "")
            if isinstance(value, type) and getattr(package, known, None) is value:
                found[name] = known
            elif (callable(value) and not isinstance(value, str)) or (isinstance(value, str) and ":" in value):
                found[name] = OwnCode.of(value).model_dump()
        for name in ("schedule", "fit"):
            if found.get(name) is not None:
                found[name] = OwnCode.of(found[name]).model_dump()
        try:
            spec = cls.model_validate(found)
        except ValidationError as error:
            raise StudyError(f"train=: {faults(error, found, cls)}") from error
        if spec.fit is not None:
            _check_signature(spec.fit.factory, _resolved(spec.fit, None))
        return found

    @property
    def own_code(self) -> dict[str | None, str]:
        """Names of a user's functions, by fingerprint."""
        every = (self.optimizer, self.loss, self.schedule, self.fit)
        parts = (part for part in every if isinstance(part, OwnCode))
        return {part.fingerprint: part.factory for part in parts}

    def settings(self, factor: float) -> dict[str, Any]:
        """As ``ntkgap.train`` takes them.

        Args:
            factor: by which the network's layers multiply a learning rate of gradient descent.
        """
        loss = self.objective
        if self.fit is not None:
            return {"fit": _resolved(self.fit, None), "loss": loss, "steps": 0, "learning_rate": None}
        rate = self.learning_rate
        if rate is not None and self.optimizer in ("gd", "sgd", "SGD"):
            rate /= factor
        kept = self.model_dump(include={"weight_decay", "clip", "batch_size", "steps"})
        return {
            "optimizer": self.resolved_optimizer,
            "loss": loss,
            "learning_rate": rate,
            "momentum": self.velocity,
            "schedule": self.resolved_schedule,
            **kept,
        }

    def check(self, network: nn.Module, data: Dataset) -> None:
        """Try one update, so that mistakes show before a sweep starts; a training function is not tried.

        Raises:
            NtkgapError: naming what does not work.
        """
        if self.fit is not None:
            return
        settings = self.settings(learning_rate_factor(network)) | {"steps": 1}
        loss = train(network, data, **settings).losses[0]
        if not math.isfinite(loss):
            raise StudyError(f"train=: the loss {self.loss_name!r} is {loss} before training; check it")

    @property
    def objective(self) -> Any:
        """The loss: a name that ``ntkgap.train`` knows, a module, or the user's function."""
        loss = _resolved(self.loss, nn)
        return loss() if isinstance(loss, type) else loss

    @property
    def resolved_optimizer(self) -> Any:
        """A name that ``ntkgap.train`` knows, a class of torch, or the user's function."""
        return _resolved(self.optimizer, torch.optim)

    @property
    def resolved_schedule(self) -> Any:
        """The user's function, or None."""
        return None if self.schedule is None else _resolved(self.schedule, None)

    @property
    def adaptive(self) -> bool:
        """Whether the optimizer is known to take steps that do not grow with the gradient."""
        return is_adaptive(self.resolved_optimizer)

    @property
    def schedule_of_steps(self) -> bool:
        """Whether the schedule, if there is one, gives a factor for every step, as no scheduler of torch does."""
        return self.schedule is None or is_of_steps(self.resolved_schedule)

    @property
    def summed(self) -> bool:
        """Whether the loss is known to be a sum over examples, by its name or reduction; else it is a mean."""
        return self.loss in ("squared", "cross_entropy") or getattr(self.objective, "reduction", "") == "sum"

    @property
    def stops(self) -> list[int]:
        """Where tasks are left that are learned one after the other: at a tenth of the steps, and at the steps.

        A training function is one stop, and counts as one step.
        """
        return sorted({max(1, (self.steps or 1) // 10), self.steps or 1})

    def check_batches(self, n: int) -> None:
        """Refuse batches of more examples than there are.

        Raises:
            ValueError: with both numbers.
        """
        if (self.batch_size or 0) > n:
            raise ValueError(f"train: batch_size {self.batch_size} is more than the {n} training examples")

    @property
    def loss_name(self) -> str:
        """Of the loss, or of the user's function."""
        return self.loss if isinstance(self.loss, str) else self.loss.factory

    @property
    def velocity(self) -> float:
        """The momentum μ of SGD by name; else 0."""
        if self.optimizer != "sgd":
            return 0.0
        return MOMENTUM if self.momentum is None else self.momentum

    @property
    def unpredictable(self) -> str:
        """Why no kernel predicts this training; empty if one does."""
        if self.fit is not None:
            return "a training function of one's own may do anything"
        if self.optimizer not in ("gd", "sgd", "SGD"):
            name = self.optimizer if isinstance(self.optimizer, str) else self.optimizer.factory
            return f"the steps of {name} are not determined by outputs and kernel"
        if not self.schedule_of_steps:
            return "what a scheduler of torch does with the learning rate is not known beforehand"
        return ""

    def describe(self) -> str:
        """In a few words."""
        if self.fit is not None:
            return f" Own training by {self.fit.factory}."
        names = [part if isinstance(part, str) else part.factory for part in (self.optimizer, self.loss)]
        rate = "" if self.learning_rate is None else f", η = {self.learning_rate:g}"
        batch = f", batches of {self.batch_size}" if self.batch_size else ""
        schedule = f", schedule {self.schedule.factory}" if self.schedule else ""
        return f" Own training by {names[0]} on the loss {names[1]}{rate}{schedule}{batch}, {self.steps} steps."


def _check_signature(name: str, fit: Callable[..., Any]) -> None:
    """Refuse a training function that cannot be called with a network, data and a seed.

    Raises:
        StudyError: with its signature.
    """
    try:
        inspect.signature(fit).bind(None, None, 0)
    except TypeError as error:
        raise StudyError(
            f"train=: {name}{inspect.signature(fit)} cannot be called with (model, data, seed); write "
            f"{name.rpartition(':')[2]}(model, data, seed)"
        ) from error
    except ValueError:  # a function without a signature, as some of C are
        return


def _torch_class(package: Any, name: str, base: type) -> type:
    found = getattr(package, name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        known = sorted(
            n for n, v in vars(package).items() if isinstance(v, type) and issubclass(v, base) and v is not base
        )
        raise ValueError(f"there is no {name!r}; choose one of {', '.join(known)}, or give a function of your own")
    return found


def _resolved(part: str | OwnCode, package: Any) -> Any:
    """A name that ``ntkgap.train`` knows, a class of torch, or the user's function."""
    if isinstance(part, OwnCode):
        return known_factory(part.factory, part.fingerprint).call
    return part if part in (*NAMED, "squared", "cross_entropy") else getattr(package, part)
