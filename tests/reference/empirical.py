"""Slow, obviously right empirical kernels: every Jacobian written out."""

import torch
from torch.func import functional_call, jacrev, vmap


def batched_jacobian(model, x, names=None):
    """The Jacobian by ``vmap(jacrev)``, one example at a time as far as the model can see: [n, C, P]."""
    params = {k: p.detach() for k, p in model.named_parameters()}
    names = list(params) if names is None else names
    constants = {k: p for k, p in params.items() if k not in names}
    constants |= {k: b.detach().clone() for k, b in model.named_buffers()}

    def f(wanted, xi):
        out = functional_call(model, constants | wanted, (xi[None],))
        return out.reshape(-1)

    blocks = vmap(jacrev(f), (None, 0))({k: params[k] for k in names}, x)
    return torch.cat([b.reshape(*b.shape[:2], -1) for b in blocks.values()], 2)


def row_jacobian(model, x, names=None):
    """The Jacobian by one backward pass of the model itself for every example and output: [n, C, P]."""
    params = [p for k, p in model.named_parameters() if names is None or k in names]
    before = [p.requires_grad for p in params]
    rows = []
    for p in params:
        p.requires_grad_(True)
    for i in range(len(x)):
        out = model(x[i : i + 1]).reshape(-1)
        for f in out:
            grads = torch.autograd.grad(f, params, retain_graph=True, allow_unused=True)
            rows.append(
                torch.cat(
                    [
                        (torch.zeros_like(p) if g is None else g.to_dense()).flatten()
                        for p, g in zip(params, grads, strict=True)
                    ]
                )
            )
    for p, flag in zip(params, before, strict=True):
        p.requires_grad_(flag)
    return torch.stack(rows).view(len(x), -1, rows[0].numel())


def kernel(j1, j2=None):
    """[n1, n2, C, C] from Jacobians [n, C, P]."""
    return torch.einsum("iap,jbp->ijab", j1, j1 if j2 is None else j2)
