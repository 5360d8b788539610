"""The optimizer of a training: by name, any class of ``torch.optim``, or a function that makes one."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.errors import NtkgapError, StudyError
from ntkgap.models import parameter_groups
from ntkgap.models.learning_rates import OPTIMIZERS
from ntkgap.practice.checks import check_learning_rate
from ntkgap.practice.training.losses import name_of
from ntkgap.practice.training.update_rules import UpdateRule, update_rule

Rates = Callable[[str], dict[str, float]]
"""From a kind of optimizer, ``"gd"`` or ``"adam"``, to the learning rate of every parameter by name."""

# Their steps do not grow with the gradient, so that layers want the learning rates that Adam has.
_ADAPTIVE = tuple(
    getattr(torch.optim, name)
    for name in (
        "Adam",
        "AdamW",
        "Adamax",
        "NAdam",
        "RAdam",
        "RMSprop",
        "Adagrad",
        "Adadelta",
        "Rprop",
        "SparseAdam",
    )
)


def is_adaptive(optimizer: object) -> bool:
    """Whether its steps do not grow with the gradient, as far as that is known before it is made."""
    return optimizer == "adam" or (isinstance(optimizer, type) and issubclass(optimizer, _ADAPTIVE))


def check_kind(optimizer: object) -> None:
    """Refuse what is no optimizer.

    Raises:
        StudyError: naming the argument.
    """
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise StudyError(
                f"unknown optimizer {optimizer!r}; choose one of {', '.join(OPTIMIZERS)}, or give a class of "
                "torch.optim or a function of the parameters that returns an optimizer"
            )
    elif isinstance(optimizer, torch.optim.Optimizer):
        raise StudyError(
            f"optimizer is a {type(optimizer).__name__} that is made already, for parameters of its own; give the "
            f"class torch.optim.{type(optimizer).__name__}, or a function that makes it from the parameters"
        )
    elif not callable(optimizer):
        raise StudyError(f"optimizer must be a name, a class or a function, got {optimizer!r}")


def check_optimizer(optimizer: object, learning_rate: object, weight_decay: float = 0.0) -> None:
    """Refuse what is no optimizer, and settings that it would not see.

    Raises:
        StudyError: naming the argument.
    """
    check_kind(optimizer)
    if learning_rate is None and (isinstance(optimizer, str | type) or not callable(optimizer)):
        raise StudyError(
            f"learning_rate must be positive and finite, got None, but optimizer={_name(optimizer)} needs it; "
            f"only a "
            "function that makes an optimizer may know it itself"
        )
    if learning_rate is not None:
        check_learning_rate(learning_rate)
    if weight_decay and not isinstance(optimizer, str | type):
        raise StudyError(
            f"weight_decay={weight_decay:g} would not reach the optimizer that {_name(optimizer)} makes; set it "
            f"there"
        )


def rates_of(model: nn.Module, learning_rate: float) -> Rates:
    """Learning rates of a network's trained parameters, with the factors of their layers."""

    def rates(kind: str) -> dict[str, float]:
        groups = parameter_groups(model, learning_rate, kind)
        found = {p: group["lr"] for group in groups for p in group["params"]}
        return {name: found[p] for name, p in model.named_parameters() if p.requires_grad}

    return rates


def make_optimizer(
    optimizer: Any,
    parameters: Mapping[str, Tensor],
    rates: Rates | None,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    torch_only: bool = False,
) -> UpdateRule:
    """The optimizer of some parameters, new.

    Args:
        optimizer: as ``train`` takes it, checked.
        parameters: what it moves, by name.
        rates: their learning rates; None hands a function the bare parameters.
        momentum: of ``"sgd"``.
        weight_decay: λ.
        torch_only: whether it must be one of torch's, as its schedulers ask.

    Raises:
        StudyError: if it cannot be made, is no ``torch.optim.Optimizer``, or moves other parameters.
    """
    if isinstance(optimizer, str) and rates is not None:
        groups = _groups(parameters, rates("adam" if optimizer == "adam" else "gd"))
        momentum = momentum if optimizer == "sgd" else 0.0
        if torch_only and optimizer == "adam":
            return torch.optim.Adam(groups, weight_decay=weight_decay)
        if torch_only:
            return torch.optim.SGD(groups, lr=1.0, momentum=momentum, weight_decay=weight_decay)
        return update_rule(groups, optimizer, momentum, weight_decay)
    if rates is None:
        return _made(optimizer, list(parameters.values()), parameters, {})
    extra = {"weight_decay": weight_decay} if weight_decay else {}
    gentle, adaptive = _groups(parameters, rates("gd")), _groups(parameters, rates("adam"))
    if isinstance(optimizer, type):
        return _made(optimizer, adaptive if issubclass(optimizer, _ADAPTIVE) else gentle, parameters, extra)
    made = _made(optimizer, gentle, parameters, extra)
    if isinstance(made, _ADAPTIVE) and rates("gd") != rates("adam"):
        return _made(optimizer, adaptive, parameters, extra)
    return made


def takes_closure(update: UpdateRule) -> bool:
    """Whether it asks for the loss itself, perhaps several times a step, as L-BFGS does."""
    closure = inspect.signature(update.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _groups(parameters: Mapping[str, Tensor], rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """One group a learning rate."""
    groups: dict[float, list[Tensor]] = {}
    for name, p in parameters.items():
        groups.setdefault(rates[name], []).append(p)
    return [{"params": group, "lr": rate} for rate, group in groups.items()]


def _made(
    make: Callable[..., Any], given: list[Any], parameters: Mapping[str, Tensor], extra: dict[str, float]
) -> torch.optim.Optimizer:
    """What a class or function makes of parameters or their groups."""
    if isinstance(make, type) and given:
        extra = extra | _rate_of(given)
    try:
        made = make(given, **extra)
    except NtkgapError:
        raise
    except Exception as error:
        what = "groups {'params': [...], 'lr': ...}" if given and isinstance(given[0], dict) else "parameters"
        bare = what.startswith("groups") and not isinstance(make, type)
        hint = "; without learning_rate= it is given the bare parameters" if bare else ""
        raise StudyError(f"optimizer={_name(make)} failed on a list of {what}: {error}{hint}") from error
    if not isinstance(made, torch.optim.Optimizer):
        raise StudyError(
            f"optimizer={_name(make)} returned {type(made).__name__}, no torch.optim.Optimizer; return one of the "
            "parameters that it is given"
        )
    _check_covered(make, made, parameters)
    return made


def _rate_of(given: list[Any]) -> dict[str, float]:
    """Some classes have no default for it."""
    return {"lr": given[0]["lr"]} if isinstance(given[0], dict) else {}


def _check_covered(make: object, made: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> None:
    """Refuse optimizers that move less, or something else.

    Raises:
        StudyError: naming the parameters that are left out.
    """
    moved = {id(p) for group in made.param_groups for p in group["params"]}
    left = [name for name, p in parameters.items() if id(p) not in moved]
    if left:
        shown = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        raise StudyError(
            f"optimizer={_name(make)} ignores parameters that require grad: {shown}; hand it all that it is "
            f"given, or "
            "freeze them with requires_grad_(False)"
        )
    if len(moved) > len(parameters):
        raise StudyError(
            f"optimizer={_name(make)} moves {len(moved) - len(parameters)} tensors that are no trained "
            f"parameters of "
            "the model; give it the parameters it is called with"
        )


def _name(thing: object) -> str:
    return repr(thing) if isinstance(thing, str) else name_of(thing)
