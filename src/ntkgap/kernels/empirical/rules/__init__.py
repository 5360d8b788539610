"""How each kind of layer turns what it saw into gradients of its parameters."""

from collections.abc import Callable

from ntkgap.kernels.empirical.rules import convolution, elementwise, embedding, linear, normalization
from ntkgap.kernels.empirical.rules.base import Call, Rule
from ntkgap.kernels.empirical.rules.elementwise import COPIES
from ntkgap.kernels.empirical.rules.local import record_local
from ntkgap.kernels.empirical.rules.recurrent import UNROLLED

_MODULES = (convolution, elementwise, embedding, linear, normalization)
RULES: dict[Callable, Rule] = {
    func: rule for module in _MODULES for rule in module.RULES for func in rule.functions
}

__all__ = ["COPIES", "RULES", "UNROLLED", "Call", "Rule", "record_local"]
