"""Per-example gradients without any structure: batched reverse mode, else one row at a time."""

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from ntkgap.kernels.empirical.autograd_check import TOLERANCE
from ntkgap.kernels.empirical.inputs import Inputs
from ntkgap.kernels.empirical.point import Point


def per_example_gradients(
    point: Point, x: Inputs, names: list[str], along: Tensor, precision: torch.dtype
) -> dict[str, Tensor]:
    """∂(Σ_a along[c, a] f_a(x_i))/∂θ for the parameters ``names``: name -> [c, n, p].

    What batched reverse mode says is checked against autograd on one example, since some of torch's own functions
    (``cdist``) have wrong derivatives in batches.
    """
    try:
        rows = _batched(point, x, names, along)
    except (RuntimeError, NotImplementedError, UserWarning):
        return rowwise_gradients(point, x, names, along)
    v = torch.randn(len(along), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(along)
    for i in {0, len(x) - 1}:
        alone = rowwise_gradients(point, x[i : i + 1], names, (v @ along)[None])
        scale = max(float(g.norm()) for g in alone.values())
        off = max(float((v @ rows[name][:, i] - alone[name][0, 0]).norm()) for name in names)
        if not off <= TOLERANCE.get(precision, 1e-2) * scale:
            return rowwise_gradients(point, x, names, along)
    return rows


def _batched(point: Point, x: Inputs, names: list[str], along: Tensor) -> dict[str, Tensor]:
    others = {k: leaf.detach() for k, leaf in point.leaves.items() if k not in names}

    def f(leaves: dict[str, Tensor], own: list[Tensor]) -> Tensor:
        one = x.with_leaves([leaf[None] for leaf in own], 1)
        return along @ point(one, others | leaves)[0].to(along)

    wanted = {name: point.leaves[name].detach() for name in names}
    blocks = vmap(jacrev(f), (None, 0))(wanted, x.own_leaves())  # name -> [n, c, ...]
    return {name: block.reshape(*block.shape[:2], -1).transpose(0, 1) for name, block in blocks.items()}


def rowwise_gradients(point: Point, x: Inputs, names: list[str], along: Tensor) -> dict[str, Tensor]:
    """The same as :func:`per_example_gradients` with one backward pass for each row: possible wherever any is."""
    leaves = [point.leaves[name] for name in names]
    rows = [leaf.new_zeros(len(along), len(x), leaf.numel()) for leaf in leaves]
    for i in range(len(x)):
        with torch.enable_grad():
            outputs = point(x[i : i + 1])[0]
        for c, direction in enumerate(along.to(outputs)):
            grads = torch.autograd.grad(outputs, leaves, direction, retain_graph=True, allow_unused=True)
            for of_leaf, grad in zip(rows, grads, strict=True):
                if grad is not None:
                    of_leaf[c, i] = grad.flatten()
    return {name: of_leaf.detach() for name, of_leaf in zip(names, rows, strict=True)}
