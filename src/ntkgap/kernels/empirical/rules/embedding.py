"""Rows looked up in a table."""

import torch
from torch import Tensor

from ntkgap.kernels.empirical.factors import Factor, Lookup
from ntkgap.kernels.empirical.parts import Part
from ntkgap.kernels.empirical.rules.base import Batch, Call, Rule, named


class Embedding(Rule):
    """``F.embedding``: the gradient of the table has a row for each token that the example holds."""

    name = "embedding"
    functions = (torch.embedding,)

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Note the indices, and which of them is padding."""
        given = named(("weight", "indices", "padding_idx"), args, kwargs)
        if id(given["weight"]) not in parts or given["indices"].ndim == 0:
            return None
        padding = {"padding": given.get("padding_idx", -1)}
        return Call(self, (given["indices"],), {"weight": parts[id(given["weight"])]}, padding)

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """The gradients of the rows, by token; autograd passes none to the padding."""
        g = batch.first(grad, lead=1).flatten(2, -2)
        index = batch.first(call.inputs[0]).flatten(1)
        if call.options["padding"] >= 0:
            g = g.masked_fill((index == call.options["padding"])[..., None], 0.0)
        return {"weight": Lookup(g, index, call.roles["weight"].tensor.shape[0])}


RULES = (Embedding(),)
