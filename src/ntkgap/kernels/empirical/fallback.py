"""Per-example gradients without any structure: batched reverse mode, else one row at a time."""

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from ntkgap.kernels.empirical.point import Point


def per_example_gradients(point: Point, x: Tensor, names: list[str]) -> dict[str, Tensor]:
    """∂f_a(x_i)/∂θ for the parameters ``names``: name -> [C, n, p]."""
    try:
        return _batched(point, x, names)
    except RuntimeError:
        return _rowwise(point, x, names)


def _batched(point: Point, x: Tensor, names: list[str]) -> dict[str, Tensor]:
    others = {k: leaf.detach() for k, leaf in point.leaves.items() if k not in names}

    def f(leaves: dict[str, Tensor], xi: Tensor) -> Tensor:
        return point(xi[None], others | leaves)[0]

    wanted = {name: point.leaves[name].detach() for name in names}
    blocks = vmap(jacrev(f), (None, 0))(wanted, x)  # name -> [n, C, ...]
    return {name: block.reshape(*block.shape[:2], -1).transpose(0, 1) for name, block in blocks.items()}


def _rowwise(point: Point, x: Tensor, names: list[str]) -> dict[str, Tensor]:
    leaves = [point.leaves[name] for name in names]
    rows: list[list[list[Tensor]]] = [[] for _ in names]
    for i in range(x.shape[0]):
        with torch.enable_grad():
            outputs = point(x[i : i + 1])[0]
        grads = [torch.autograd.grad(f, leaves, retain_graph=True, allow_unused=True) for f in outputs]
        for k, leaf in enumerate(leaves):
            rows[k].append([torch.zeros_like(leaf) if g[k] is None else g[k] for g in grads])
    stacked = [torch.stack([torch.stack([g.flatten() for g in r]) for r in by], 1) for by in rows]
    return dict(zip(names, stacked, strict=True))
