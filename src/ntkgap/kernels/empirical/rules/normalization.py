"""Scale and shift after LayerNorm, RMSNorm, GroupNorm, InstanceNorm, and BatchNorm in eval mode."""

from collections.abc import Callable

import torch
from torch import Tensor

from ntkgap.kernels.empirical.factors import Factor, Rows
from ntkgap.kernels.empirical.parts import Part
from ntkgap.kernels.empirical.rules.base import Batch, Call, Rule, named, roles_of, summed_to


class Normalization(Rule):
    """y = weight · x̂ + bias, with x̂ what the same function returns without weight and bias."""

    def __init__(self, function: Callable, arguments: tuple[str, ...], per_channel: bool) -> None:
        self.name = function.__name__
        self.functions = (function,)
        self.function, self.arguments, self.per_channel = function, arguments, per_channel

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Note the normalized input."""
        given = named(self.arguments, args, kwargs)
        roles = roles_of(parts, given, "weight", "bias")
        if id(given["input"]) in parts:
            return None
        if "weight" not in roles:
            return Call(self, (), roles)
        plain = given | {"weight": None, "bias": None}
        with torch.no_grad():
            normalized = self.function(*(plain[name] for name in self.arguments if name in plain))
        return Call(self, (normalized,), roles)

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """Sums over the positions that share an entry of weight or bias."""
        out: dict[str, Factor] = {}
        for role, part in call.roles.items():
            shape = part.tensor.shape
            if self.per_channel:
                shape = torch.Size([*shape, *[1] * (grad.ndim - 3)])
            out[role] = Rows(summed_to(grad * call.inputs[0] if role == "weight" else grad, shape, batch))
        return out


_STATISTICS = (
    "input",
    "weight",
    "bias",
    "running_mean",
    "running_var",
    "use_input_stats",
    "momentum",
    "eps",
    "cudnn",
)
RULES = (
    Normalization(torch.layer_norm, ("input", "normalized_shape", "weight", "bias", "eps", "cudnn"), False),
    Normalization(torch.rms_norm, ("input", "normalized_shape", "weight", "eps"), False),
    Normalization(torch.group_norm, ("input", "num_groups", "weight", "bias", "eps", "cudnn"), True),
    Normalization(torch.batch_norm, _STATISTICS, True),
    Normalization(torch.instance_norm, _STATISTICS, True),
)
