"""How each kind of layer turns what it saw into gradients of its parameters."""

from collections.abc import Callable

from ntkgap.kernels.empirical.rules import convolution, elementwise, embedding, linear, normalization
from ntkgap.kernels.empirical.rules.base import Call, Rule

_ROOMS = (convolution, elementwise, embedding, linear, normalization)
RULES: dict[Callable, Rule] = {func: rule for room in _ROOMS for rule in room.RULES for func in rule.functions}

__all__ = ["RULES", "Call", "Rule"]
