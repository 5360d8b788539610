"""The Jacobian by plain ``torch.autograd.grad``, for networks of several inputs and outputs of any shape."""

import torch
from torch.utils._pytree import tree_map


def call(model, inputs):
    """Of a tensor, a tuple of positional arguments, or a dictionary of keyword arguments."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if type(inputs) is tuple else model(inputs)  # other tuples have a meaning of their own


def logits(outputs):
    """The outputs as a tensor [n, ...]: themselves, or what goes by the name of logits."""
    if isinstance(outputs, torch.Tensor):
        return outputs
    return outputs["logits"] if isinstance(outputs, dict) else outputs.logits


def one(inputs, i, n):
    """The inputs of example i of n, [1, ...], in memory of their own; what is shared by all is as it was."""
    return tree_map(
        lambda t: t[i : i + 1].detach().clone() if t.ndim and len(t) == n else t.detach().clone(), inputs
    )


def tree_jacobian(model, inputs, n, names=None):
    """One backward pass for every example and output entry, on each example alone: [n, C, P] in float64.

    Columns are in the order of ``named_parameters``, of those that are named or else of those that require grad.
    The network and the inputs must be in float64.
    """
    named = [(k, p) for k, p in model.named_parameters() if (p.requires_grad if names is None else k in names)]
    parameters = [p for _, p in named]
    flags = [p.requires_grad for p in parameters]
    for p in parameters:
        p.requires_grad_(True)
    rows = []
    for i in range(n):
        with torch.enable_grad():
            entries = logits(call(model, one(inputs, i, n))).flatten()
        rows.append(torch.stack([_row(f, parameters) for f in entries]))
    for p, flag in zip(parameters, flags, strict=True):
        p.requires_grad_(flag)
    return torch.stack(rows)


def _row(entry, parameters):
    if not entry.requires_grad:
        return torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
    grads = torch.autograd.grad(entry, parameters, retain_graph=True, allow_unused=True)
    dense = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]
    return torch.cat([(g.to_dense() if g.is_sparse else g).flatten() for g in dense])
