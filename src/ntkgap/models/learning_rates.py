"""Per-layer learning rates: what a parametrization and the output's scale ask of the optimizer."""

from typing import Any

from torch import nn

from ntkgap.errors import ModelError
from ntkgap.models.checks import check_choice
from ntkgap.models.output_scale import Scaled, check_positive

OPTIMIZERS = ("gd", "sgd", "adam")


def parameter_groups(model: nn.Module, learning_rate: float, optimizer: str = "sgd") -> list[dict[str, Any]]:
    """Parameter groups for a torch optimizer, each layer with the learning rate of its parametrization.

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
        ModelError: if the model has no parameters, the optimizer is unknown, the learning rate is not positive
            and finite, or a parameter is shared by layers that want different learning rates.

    Example:
        >>> net = ng.MLP(64, 10, 128, 2, alpha=10.0)
        >>> [group["lr"] for group in ng.parameter_groups(net, 0.5)]  # 0.5/α²
        [0.005]
        >>> optimizer = torch.optim.SGD(ng.parameter_groups(net, 0.5), lr=0.5)
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


def learning_rate_factor(model: nn.Module, optimizer: str = "sgd") -> float:
    """The one factor that every learning rate of the model is multiplied by.

    Under gradient descent it is the same for all layers of a reference network: m for ``"mean_field"``,
    1 for the other parametrizations, times γ0²/α². Training with learning rate η then follows the kernel
    factor · K: the predictions of the kernel regime hold with η · factor for η, and the critical learning
    rate is 2/(factor · κ_max).

    Args:
        model: any network.
        optimizer: as for ``parameter_groups``.

    Raises:
        ModelError: if layers have different factors, or as ``parameter_groups`` does.
    """
    rates = sorted(group["lr"] for group in parameter_groups(model, 1.0, optimizer))
    if rates[0] != rates[-1]:
        raise ModelError(
            f"layers have learning rates between {rates[0]:g}·η and {rates[-1]:g}·η, so there is no one factor; "
            "use parameter_groups"
        )
    return rates[0]


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
