"""Ways of writing networks that trip tools: hooks, in-place operations, checkpoints, plain lists."""

import copy
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.kernels.empirical.zoo.case import Case, Constant, Net, floats, linear, net, stack, tokens


class ClampedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        return g * (ctx.saved_tensors[0] > 0)


class Multiply(torch.autograd.Function):
    """A product with the weight inside."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, x.T @ g


class Reversed(torch.autograd.Function):
    """Gradient reversal: the backward pass is not the derivative of the forward pass."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -0.5 * g


def checkpointed(m, x):
    return m.out(checkpoint(m.block, torch.tanh(m.a(x)), use_reentrant=False))


def checkpointed_lambda(m, x):
    return checkpoint(lambda h: m.out(torch.tanh(m.a(h))), x, use_reentrant=False)


def stopped_by_no_grad(m, x):
    h = torch.tanh(m.a(x))
    with torch.no_grad():
        size = h.norm(dim=1, keepdim=True)
    return m.out(h / size)


def stopped_by_detach(m, x):
    h = torch.tanh(m.a(x))
    return m.out(h / h.norm(dim=1, keepdim=True).detach())


def first_half_without_gradient(m, x):
    with torch.no_grad():
        h = torch.tanh(m.a(x))
    return m.out(h)


def changes_its_inputs(m, x):
    x.mul_(0.5)
    x[:, 0] = 0
    return m.out(torch.sin(x))


def adds_to_its_inputs(m, x):
    x += m.shift
    return m.out(torch.tanh(x))


def in_place_all_along(m, x):
    h = m.a(x).sin_()
    h += m.shift
    h.relu_()
    h = m.b(h)
    h[:, 1] *= 2.0
    h[:, 0].add_(1.0)
    return h


def doubled_by_hook():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    model[0].register_forward_hook(lambda module, args, out: 2 * out + out.square())
    return model


def changed_before():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    model[2].register_forward_pre_hook(lambda module, args: (args[0] * torch.arange(5).to(args[0]),))
    model.register_full_backward_hook(lambda module, before, after: None)
    return model


def counting(m, x):
    m.calls += 1
    m.average.mul_(0.9)
    return m.out(torch.tanh(m.a(x)))


class PlainLists(nn.Module):
    """Layers in attributes, and in a plain list that the forward pass goes through."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 2)
        self.layers = [self.first, torch.tanh, self.second]
        self.table = {"shift": self.first.bias}

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x + self.table["shift"].sum()


def list_of_parameters(m, x):
    for w, b in zip(m.w, m.b, strict=True):
        x = torch.tanh(x @ w + b)
    return x


def dictionary_of_parameters(m, x):
    return torch.tanh(x @ m.p["w"] + m.p["b"]) * m.p["scale"]


def raw():
    w = nn.ParameterList([nn.Parameter(torch.randn(4, 4) / 2) for _ in range(3)])
    b = nn.ParameterList([nn.Parameter(torch.randn(4)) for _ in range(3)])
    return Net(list_of_parameters, w=w, b=b)


def named():
    parts = {"w": torch.randn(4, 3), "b": torch.randn(3), "scale": torch.tensor(2.0)}
    return Net(dictionary_of_parameters, p=nn.ParameterDict({k: nn.Parameter(v) for k, v in parts.items()}))


def shallow_copies():
    layer = nn.Linear(5, 5)
    return nn.Sequential(nn.Linear(4, 5), layer, nn.Tanh(), copy.copy(layer), nn.Linear(5, 2))


def followed_by_sine(forward, x):
    return torch.sin(forward(x))


def bound_method():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    model[0].forward = partial(followed_by_sine, model[0].forward)
    return model


def branches(m, x):
    return torch.where(x[:, :1] > x[:, 1:2], m.a(x), torch.tanh(m.b(x)))


def sorted_features(m, x):
    return m.out(m.a(x).sort(-1).values * m.scale)


def best_three(m, x):
    return m.out(torch.tanh(m.a(x)).topk(3, -1).values)


def running_sum(m, x):
    return m.out(torch.tanh(m.a(x)).cumsum(1))


def last_valid(m, ids):
    h = torch.tanh(m.tok(ids))
    length = (ids != 0).sum(1).clamp(min=1)
    return m.out(h.gather(1, (length - 1)[:, None, None].expand(-1, 1, 4))[:, 0])


def sequence_by_axis_one(m, x):
    """Every position of the sequence has a layer of its own."""
    return torch.stack([layer(x[:, t]) for t, layer in enumerate(m.layers)], 1).tanh()


def recursion(m, x):
    def tree(lo, hi):
        if hi - lo == 1:
            return torch.tanh(m.leaf(x[:, lo]))
        middle = (lo + hi) // 2
        return torch.tanh(m.join(torch.cat([tree(lo, middle), tree(middle, hi)], 1)))

    return tree(0, x.shape[1])


AB = {"a": linear(4, 5), "out": linear(5, 2)}

X = floats(4)

MLP = stack(linear(4, 5), nn.Tanh, linear(5, 2))


CASES = [
    Case("checkpoint", net(checkpointed, block=stack(linear(5, 5), nn.Tanh), **AB), X),
    Case("checkpoint of everything", net(checkpointed_lambda, **AB), X),
    Case("autograd.Function", net(lambda m, x: m.out(ClampedReLU.apply(m.a(x))), **AB), X),
    Case(
        "autograd.Function of a weight",
        net(lambda m, x: m.out(torch.tanh(Multiply.apply(x, m.w))), w=(4, 5), out=linear(5, 2)),
        X,
    ),
    Case("reversed gradient", net(lambda m, x: m.out(Reversed.apply(torch.tanh(m.a(x)))), **AB), X),
    Case("no_grad as a stop", net(stopped_by_no_grad, **AB), X),
    Case("detach as a stop", net(stopped_by_detach, **AB), X),
    Case("first layer without gradient", net(first_half_without_gradient, **AB), X, idle=("a.weight", "a.bias")),
    Case("in-place ReLU first", lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2)), X),
    Case(
        "in-place dropout first",
        lambda: nn.Sequential(nn.Dropout(0.5, inplace=True), nn.Hardtanh(inplace=True), nn.Linear(4, 2)).eval(),
        X,
    ),
    Case("inputs changed in place", net(changes_its_inputs, out=linear(4, 2)), X),
    Case("parameter added to inputs in place", net(adds_to_its_inputs, shift=(4,), out=linear(4, 2)), X),
    Case("in place all along", net(in_place_all_along, a=linear(4, 5), shift=(5,), b=linear(5, 3)), X),
    Case("hook that changes outputs", doubled_by_hook, X),
    Case("hook that changes inputs", changed_before, X),
    Case(
        "buffers that count calls",
        lambda: Net(
            counting,
            calls=Constant(torch.tensor(0)),
            average=Constant(torch.ones(3)),
            a=nn.Linear(4, 5),
            out=nn.Linear(5, 2),
        ),
        X,
    ),
    Case("layers in a plain list", PlainLists, X),
    Case("list of parameters", raw, X),
    Case("dictionary of parameters", named, X),
    Case("shallow copies of a layer", shallow_copies, X),
    Case("method replaced on an instance", bound_method, X),
    Case("where", net(branches, a=linear(4, 3), b=linear(4, 3)), X),
    Case("sorted features", net(sorted_features, a=linear(4, 5), scale=(5,), out=linear(5, 2)), X),
    Case("top three features", net(best_three, a=linear(4, 6), out=linear(3, 2)), X),
    Case("running sum over positions", net(running_sum, **AB), floats(3, 4)),
    Case(
        "last token that is not padding",
        net(last_valid, tok=lambda: nn.Embedding(6, 4), out=linear(4, 2)),
        tokens(6, 5),
    ),
    Case(
        "a layer for each position",
        net(sequence_by_axis_one, layers=lambda: nn.ModuleList([nn.Linear(4, 2) for _ in range(3)])),
        floats(3, 4),
    ),
    Case("recursion over a tree", net(recursion, leaf=linear(3, 4), join=linear(8, 4)), floats(4, 3)),
    Case("complex numbers inside", net(lambda m, x: torch.fft.fft(m.a(x)).abs()[:, :3], a=linear(4, 5)), X),
    Case("DataParallel", lambda: nn.DataParallel(MLP()), X),
    Case("F.linear of a view", net(lambda m, x: F.linear(x, m.w.view(3, 4), m.w[:3]).tanh(), w=(12,)), X),
    Case(
        "nothing but a flat vector",
        net(lambda m, x: torch.tanh(x @ m.p[:20].view(4, 5) + m.p[20:25]) @ m.p[25:].view(5, 2), p=(35,)),
        X,
    ),
]
