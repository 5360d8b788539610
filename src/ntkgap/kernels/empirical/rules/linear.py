"""y = x Wᵀ + b, on vectors or on the last axis of anything longer."""

from torch import Tensor
from torch.nn import functional as F

from ntkgap.kernels.empirical.factors import Factor, Outer, Rows
from ntkgap.kernels.empirical.parts import Part
from ntkgap.kernels.empirical.rules.base import Batch, Call, Rule


class Linear(Rule):
    """``F.linear``: the gradient of W is Σ_s g_s ⊗ x_s over the positions s that share the layer."""

    name = "linear"
    functions = (F.linear,)

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Note the input; the data must be the first argument."""
        given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        x = given["input"]
        if id(x) in parts or x.ndim < 2 or given["weight"].ndim != 2:
            return None
        roles = {role: parts[id(given[role])] for role in ("weight", "bias") if id(given.get(role)) in parts}
        return Call(self, (x,) if "weight" in roles else (), roles)

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """An outer product for W, a sum over positions for b."""
        g = batch.first(grad, lead=1).flatten(2, -2)  # [C, n, S, o]
        out: dict[str, Factor] = {}
        if "weight" in call.roles:
            a = batch.first(call.inputs[0]).flatten(1, -2)  # [n, S, d]
            out["weight"] = Outer(g, a)
        if "bias" in call.roles:
            out["bias"] = Rows(g.squeeze(2) if g.shape[2] == 1 else g.sum(2))
        return out


RULES = (Linear(),)
