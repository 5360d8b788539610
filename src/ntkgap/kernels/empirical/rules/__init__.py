"""How each kind of layer turns what it saw into gradients of its parameters."""

from collections.abc import Callable

from ntkgap.kernels.empirical.rules import linear
from ntkgap.kernels.empirical.rules.base import Call, Rule

RULES: dict[Callable, Rule] = {
    func: rule for module in (linear,) for rule in module.RULES for func in rule.functions
}

__all__ = ["RULES", "Call", "Rule"]
