"""One rule for each kind of step; importing this package registers them all."""

from ntkgap.kernels.infinite.rules import arithmetic, attention, layers, normalization, pointwise, positions
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Data, Operation, Random, Rule, State, find_rule

__all__ = [
    "Call",
    "Compiled",
    "Data",
    "Operation",
    "Random",
    "Rule",
    "State",
    "arithmetic",
    "attention",
    "find_rule",
    "layers",
    "normalization",
    "pointwise",
    "positions",
]
