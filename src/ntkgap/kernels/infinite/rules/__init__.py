"""One rule for each kind of step; importing this package registers them all."""

from ntkgap.kernels.infinite.rules import (
    arithmetic,
    attention,
    convolution,
    dense,
    embedding,
    mixing,
    normalization,
    pointwise,
    pooling,
    recurrence,
    shapes,
    transposed_convolution,
    upsampling,
)
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
    "convolution",
    "dense",
    "embedding",
    "find_rule",
    "mixing",
    "normalization",
    "pointwise",
    "pooling",
    "recurrence",
    "shapes",
    "transposed_convolution",
    "upsampling",
]
