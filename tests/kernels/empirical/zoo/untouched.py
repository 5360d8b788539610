"""What a call may not change: a model, its inputs, and the state of random numbers."""

from contextlib import contextmanager

import torch
from torch.utils._pytree import tree_leaves


def same(tensor, copy):
    """Bit for bit, whatever the layout."""
    if tensor.layout != torch.strided:
        tensor, copy = tensor.to_dense(), copy.to_dense()
    return torch.equal(tensor, copy)


@contextmanager
def untouched(model, *inputs):
    """Everything is the same object with the same bits afterwards, and no gradient was left anywhere."""
    parameters = {k: (p, p.detach().clone(), p.requires_grad) for k, p in named(model.named_parameters)}
    buffers = {k: (b, b.clone()) for k, b in named(model.named_buffers)}
    modules = [(m, m.training, set(vars(m))) for m in model.modules()]
    leaves = [t for t in tree_leaves(inputs) if isinstance(t, torch.Tensor)]
    given = [(t, t.detach().clone(), t.requires_grad) for t in leaves]
    random = torch.get_rng_state()
    yield
    assert list(parameters) == [k for k, _ in named(model.named_parameters)]
    for name, p in named(model.named_parameters):
        before, value, flag = parameters[name]
        assert p is before, f"{name} was replaced"
        assert same(p, value), f"{name} was changed"
        assert p.requires_grad is flag, f"requires_grad of {name} was changed"
        assert p.is_leaf, f"{name} is no leaf"
        assert p.grad is None, f"{name} was given a gradient"
    assert list(buffers) == [k for k, _ in named(model.named_buffers)]
    for name, b in named(model.named_buffers):
        assert b is buffers[name][0], f"{name} was replaced"
        assert same(b, buffers[name][1]), f"{name} was changed"
    assert [(m, m.training, set(vars(m))) for m in model.modules()] == modules
    for tensor, value, flag in given:
        assert same(tensor, value), "inputs were changed"
        assert tensor.requires_grad is flag, "requires_grad of inputs was changed"
        assert tensor.grad is None, "inputs were given a gradient"
    assert torch.equal(torch.get_rng_state(), random), "random numbers were drawn"


def named(walk):
    return walk(remove_duplicate=False)
