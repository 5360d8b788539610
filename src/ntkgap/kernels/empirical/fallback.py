"""Per-example gradients without any structure: batched reverse mode, else one row at a time."""

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from ntkgap.kernels.empirical.inputs import Inputs
from ntkgap.kernels.empirical.point import Point


def per_example_gradients(point: Point, x: Inputs, names: list[str], along: Tensor) -> dict[str, Tensor]:
    """∂(Σ_a along[c, a] f_a(x_i))/∂θ for the parameters ``names``: name -> [c, n, p]."""
    try:
        return _batched(point, x, names, along)
    except (RuntimeError, NotImplementedError):
        return _rowwise(point, x, names, along)


def _batched(point: Point, x: Inputs, names: list[str], along: Tensor) -> dict[str, Tensor]:
    others = {k: leaf.detach() for k, leaf in point.leaves.items() if k not in names}

    def f(leaves: dict[str, Tensor], own: list[Tensor]) -> Tensor:
        one = x.with_leaves([leaf[None] for leaf in own], 1)
        return along @ point(one, others | leaves)[0].to(along)

    wanted = {name: point.leaves[name].detach() for name in names}
    blocks = vmap(jacrev(f), (None, 0))(wanted, x.own_leaves())  # name -> [n, c, ...]
    return {name: block.reshape(*block.shape[:2], -1).transpose(0, 1) for name, block in blocks.items()}


def _rowwise(point: Point, x: Inputs, names: list[str], along: Tensor) -> dict[str, Tensor]:
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
