"""Linear maps: y = x Wᵀ + b on vectors or on the last axis of anything longer, x @ W, and W @ x."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ntkgap.kernels.empirical.factors import Factor, Outer, Rows
from ntkgap.kernels.empirical.parts import Part
from ntkgap.kernels.empirical.rules.base import Batch, Call, Rule, named, roles_of


class Linear(Rule):
    """``F.linear``: the gradient of W is Σ_s g_s ⊗ x_s over the positions s that share the layer."""

    name = "linear"
    functions: tuple[Callable, ...] = (F.linear,)

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Note the input; the data must be the first argument."""
        given = named(("input", "weight", "bias"), args, kwargs)
        x = given["input"]
        if id(x) in parts or x.ndim < 2 or given["weight"].ndim != 2:
            return None
        roles = roles_of(parts, given, "weight", "bias")
        return Call(self, (x,) if "weight" in roles else (), roles)

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """An outer product for W, a sum over positions for b."""
        g = batch.first(grad, lead=1).flatten(2, -2)  # [C, n, S, o]
        out: dict[str, Factor] = {}
        if "weight" in call.roles:
            a = batch.first(call.inputs[0]).flatten(1, -2)  # [n, S, d]
            out["weight"] = Outer(g[:, :, None], a[:, None], call.options.get("flipped", False))
        if "bias" in call.roles:
            out["bias"] = Rows(g[:, :, 0] if g.shape[2] == 1 else g.sum(2))
        return out


class RightMatmul(Linear):
    """``x @ W`` and ``addmm(b, x, W)``: a linear map whose weight is stored [d, o]."""

    name = "matmul"
    functions: tuple[Callable, ...] = (
        torch.matmul,
        torch.Tensor.matmul,
        torch.mm,
        torch.Tensor.mm,
        torch.addmm,
        torch.Tensor.__matmul__,
    )

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Note the data, whichever side of the product it is on."""
        if len(args) == 3:
            given = named(("bias", "input", "weight"), args, {})
            if kwargs:
                return None
        else:
            given = named(("input", "weight"), args, kwargs)
        x, w = given["input"], given["weight"]
        if id(x) in parts and id(w) not in parts and len(args) == 2 and x.ndim == 2 and w.ndim >= 3:
            return Call(_LEFT, (w,), {"weight": parts[id(x)]})
        if id(x) in parts or x.ndim < 2 or w.ndim != 2 or getattr(given.get("bias"), "ndim", 1) != 1:
            return None
        roles = roles_of(parts, given, "weight", "bias")
        return Call(self, (x,) if "weight" in roles else (), roles, {"flipped": True})


class LeftMatmul(Rule):
    """``W @ x``, W mixing the last axis but one of x (tokens, say): positions are the last axis."""

    name = "left matmul"
    functions: tuple[Callable, ...] = ()

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Recorded by :class:`RightMatmul`, which sees the function first."""
        return None

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """Σ over everything but the mixed axis of g ⊗ x."""
        g = batch.first(grad, lead=1).movedim(-2, -1).flatten(2, -2)
        a = batch.first(call.inputs[0]).movedim(-2, -1).flatten(1, -2)
        return {"weight": Outer(g[:, :, None], a[:, None])}


_LEFT = LeftMatmul()
RULES = (Linear(), RightMatmul())
