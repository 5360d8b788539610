"""Per-layer learning rates: what a parametrisation and the output's scale ask of the optimiser."""

from typing import Any

from torch import nn

from ntkgap.errors import ModelError
from ntkgap.models.checks import check_choice
from ntkgap.models.scales import Scaled, check_positive

OPTIMIZERS = ("gd", "sgd", "adam")


def parameter_groups(model: nn.Module, learning_rate: float, optimizer: str = "sgd") -> list[dict[str, Any]]:
    """Parameter groups for a torch optimiser, each layer with the learning rate of its parametrisation.

    A parameter's learning rate is η times the factor of its layer (``LayerFactory``; 1 for layers that
    are not ours) and of every ``Scaled`` around it: 1/factor² for gradient descent; for Adam, which does not
    see the size of gradients, 1/factor. For ``"ntk"`` and ``"standard"`` with ``alpha=1`` there is one group
    with η itself.

    Args:
        model: any network.
        learning_rate: η.
        optimizer: ``"sgd"`` or ``"gd"`` (any linear rule: momentum or not), or ``"adam"``.

    Returns:
        ``[{"params": [...], "lr": ...}, ...]``, one group a learning rate, every parameter once.

    Raises:
        ModelError: if the model has no parameters, the optimiser is unknown, the learning rate is not positive
            and finite, or a parameter is shared by layers that want different learning rates.
    """
    check_choice("optimizer", optimizer, OPTIMIZERS)
    check_positive(learning_rate=learning_rate)
    factors: dict[nn.Parameter, float] = {}
    _collect(model, "adam" if optimizer == "adam" else "sgd", 1.0, "", factors)
    if not factors:
        raise ModelError("the model has no parameters, so there is nothing to train")
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter, factor in factors.items():
        groups.setdefault(factor, []).append(parameter)
    return [{"params": group, "lr": learning_rate * factor} for factor, group in groups.items()]


def _collect(
    module: nn.Module, optimizer: str, outer: float, prefix: str, factors: dict[nn.Parameter, float]
) -> None:
    if isinstance(module, Scaled):
        outer /= abs(module.factor) if optimizer == "adam" else module.factor**2
    own = getattr(module, "learning_rate_factors", {}).get(optimizer, {})
    for name, parameter in module.named_parameters(recurse=False):
        factor = outer * own.get(name, 1.0)
        if factors.setdefault(parameter, factor) != factor:
            raise ModelError(
                f"parameter {prefix}{name} is shared by layers whose learning rates differ by the factor "
                f"{factor / factors[parameter]:g}; tie parameters only between layers of one kind and place"
            )
    for name, child in module.named_children():
        _collect(child, optimizer, outer, f"{prefix}{name}.", factors)
