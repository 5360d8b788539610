"""Weights that are computed from parameters by hand: products, structures, generators."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, Constant, Net, floats, linear, net
from tests.kernels.empirical.zoo.reparametrized import of


def circulant(m):
    rows = [m.c.roll(k)[:5] for k in range(4)]
    return torch.stack(rows)


def toeplitz(m):
    index = torch.arange(5)[None] - torch.arange(4)[:, None] + 3
    return m.c[index]


def householder(m):
    v = m.v / m.v.norm(dim=-1, keepdim=True)
    w = torch.eye(5, dtype=v.dtype)[:4]
    for k in range(len(v)):
        w = w - 2 * (w @ v[k])[:, None] * v[k]
    return w


def hypernetwork(m, x):
    """A weight made by a network from a learned code, the same for all examples."""
    w, b = m.maker(m.code).split([20, 5])
    return m.out(torch.tanh(F.linear(x, w.view(5, 4), b)))


def hypernetwork_rows(m, x):
    """One code for each row of the weight: the maker sees five rows that are no examples."""
    w = m.b(torch.tanh(m.a(m.codes)))
    return m.out(torch.tanh(F.linear(x, w)))


def weights_of_an_example(m, x):
    """A weight for every example, made from the example."""
    w = m.maker(x).view(-1, 3, 4)
    return torch.tanh((w @ x[..., None])[..., 0])


def masked_layers(m, x):
    """MADE: connections only to earlier features."""
    h = torch.relu(F.linear(x, m.a.weight * m.mask, m.a.bias))
    return F.linear(h, m.b.weight * m.mask.T, m.b.bias)


def experts_merged(m, x):
    """One weight, the mean of three with learned shares, the same for all examples."""
    w = torch.einsum("k,kio->io", m.share.softmax(0), m.w)
    return m.out(torch.tanh(x @ w))


def same_in_other_layout(m, x):
    """One matrix of 20 numbers, read as 4 × 5 and as 5 × 4."""
    return F.linear(torch.tanh(x @ m.w), m.w.reshape(5, 4).T)


def transposed_parameter():
    model = net(lambda m, x: m.out(torch.tanh(x @ m.w)), out=linear(5, 3))()
    model.w = nn.Parameter(torch.randn(5, 4).T)  # not contiguous
    return model


CASES = [
    Case("softmax of logits", of(lambda m: m.w.softmax(0), w=(4, 5)), floats(4)),
    Case("exponentials", of(lambda m: m.w.exp(), w=(4, 5)), floats(4)),
    Case("normalized rows", of(lambda m: F.normalize(m.w, dim=1), w=(4, 5)), floats(4)),
    Case("gated weight", of(lambda m: m.w * torch.sigmoid(m.g), w=(4, 5), g=(4, 5)), floats(4)),
    Case("weight times a constant", of(lambda m: m.w / 4**0.5, w=(4, 5)), floats(4)),
    Case("weight times a learned number", of(lambda m: m.w * m.s, w=(4, 5), s=()), floats(4)),
    Case("weight times learned rows", of(lambda m: m.w * m.s, w=(4, 5), s=(4, 1)), floats(4)),
    Case("product of two", of(lambda m: m.u @ m.v, u=(4, 2), v=(2, 5)), floats(4)),
    Case(
        "product and diagonal",
        of(lambda m: m.u @ m.v + F.pad(torch.diag(m.d), (0, 1)), u=(4, 2), v=(2, 5), d=(4,)),
        floats(4),
    ),
    Case("two matrices side by side", of(lambda m: torch.cat([m.a, m.b], 1), a=(4, 2), b=(4, 3)), floats(4)),
    Case(
        "columns stacked",
        of(lambda m: torch.stack([m.a, m.b, m.a, m.c, m.b], 1), a=(4,), b=(4,), c=(4,)),
        floats(4),
    ),
    Case("blocks on the diagonal", of(lambda m: torch.block_diag(m.a, m.b), a=(2, 2), b=(2, 3)), floats(4)),
    Case("circulant", of(circulant, c=(6,)), floats(4)),
    Case("Toeplitz by index", of(toeplitz, c=(8,)), floats(4)),
    Case(
        "hashed entries",
        of(lambda m: m.w[m.index], w=(6,), index=lambda: Constant(torch.randint(6, (4, 5)))),
        floats(4),
    ),
    Case("Householder reflections", of(householder, v=(2, 5)), floats(4)),
    Case("hypernetwork", net(hypernetwork, code=(3,), maker=linear(3, 25), out=linear(5, 3)), floats(4)),
    Case(
        "hypernetwork, rows",
        net(hypernetwork_rows, codes=(5, 2), a=linear(2, 3), b=linear(3, 4), out=linear(5, 3)),
        floats(4),
    ),
    Case("weights of an example", net(weights_of_an_example, maker=linear(4, 12)), floats(4)),
    Case(
        "masked connections",
        lambda: Net(
            masked_layers, a=nn.Linear(4, 6), b=nn.Linear(6, 4), mask=Constant((torch.rand(6, 4) > 0.4).float())
        ),
        floats(4),
    ),
    Case("experts merged into one", net(experts_merged, share=(3,), w=(3, 4, 5), out=linear(5, 2)), floats(4)),
    Case("one matrix in two layouts", net(same_in_other_layout, w=(4, 5)), floats(4)),
    Case("weight and its transpose", net(lambda m, x: torch.tanh(x @ m.w) @ m.w.mT @ m.w, w=(4, 4)), floats(4)),
    Case("transposed parameter", transposed_parameter, floats(4)),
    Case("weight expanded", of(lambda m: m.w.expand(4, 5), w=(1, 5)), floats(4)),
]
