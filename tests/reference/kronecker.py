"""Slow, obviously right Gauss–Newton blocks, and what independence of inputs and gradients makes of them."""

import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap


class Offset(nn.Module):
    """Adds a zero to every entry: the derivative by it is that by what the layer before returned."""

    def __init__(self, *shape):
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(*shape, dtype=torch.float64))

    def forward(self, x):
        """Unchanged."""
        return x + self.zero


def jacobian_by(model, name, x):
    """The Jacobian by one parameter, [n, C, *shape]."""
    parameters = {k: p.detach() for k, p in model.named_parameters()}

    def outputs(value, xi):
        return functional_call(model, parameters | {name: value}, (xi[None],))[0]

    return vmap(jacrev(outputs), (None, 0))(parameters[name], x)


def joint_jacobian(model, layer, x):
    """The Jacobian by (weight, bias) of the layer of that name, flattened from [o, d]: [n, C, o·d]."""
    weight = jacobian_by(model, f"{layer}.weight", x).flatten(3)  # [n, C, o, d]
    bias = [k for k, _ in model.named_parameters() if k == f"{layer}.bias"]
    columns = [weight] + [jacobian_by(model, name, x)[..., None] for name in bias]
    return torch.cat(columns, dim=3).flatten(2)


def exact_block(model, layer, x):
    """Σ over examples and outputs of the products of gradients by the parameters of the layer: [o·d, o·d]."""
    rows = joint_jacobian(model, layer, x).flatten(0, 1)
    return rows.T @ rows


def independent_block(g, a):
    """The block where inputs say nothing about gradients, and derivatives at one position nothing of others.

    Every gradient g[i, c, :, s] meets every input a[j, :, t], whatever i and j, s and t, with equal weight.
    """
    block = 0
    for gi in g.flatten(0, 1):  # [o, S]
        for gis in gi.T:
            for aj in a:  # [d, S]
                for ajt in aj.T:
                    row = torch.outer(gis, ajt).flatten()
                    block = block + torch.outer(row, row)
    return block / (len(a) * a.shape[2])
