"""Sets and clouds of points."""

import torch
from torch import nn

from tests.kernels.empirical.zoo.case import (
    Case,
    lengths,
    linear,
    net,
    several,
    stack,
)
from tests.kernels.empirical.zoo.graphs import AB, ONE, X


def deep_sets(m, x):
    return m.rho(torch.relu(m.phi(x)).sum(1))


def masked_set(m, x, mask):
    h = torch.relu(m.phi(x)) * mask[..., None]
    return m.rho(h.sum(1) / mask.sum(1, keepdim=True))


def equivariant(m, x):
    return torch.tanh(m.own(x) - m.rest(x.mean(1, keepdim=True)))


def point_net(m, x):
    return m.out(torch.relu(m.b(torch.relu(m.a(x)))).amax(1))


def point_net_mean(m, x):
    h = torch.relu(m.a(x))
    return m.out(torch.cat([h.mean(1), h.amax(1)], 1))


def point_net_attention(m, x):
    h = torch.relu(m.a(x))
    return m.out((m.score(h).softmax(1) * h).sum(1))


def transform_net(m, x):
    """Points turned by a matrix that is predicted from them."""
    turn = m.turn(x.mean(1)).view(-1, 3, 3) + torch.eye(3).to(x)
    return m.out(torch.relu(m.a(x @ turn)).amax(1))


def pairwise(m, x):
    """Relations of all pairs of objects."""
    k = x.shape[1]
    pairs = torch.cat([x[:, :, None].expand(-1, -1, k, -1), x[:, None].expand(-1, k, -1, -1)], -1)
    return m.f(torch.relu(m.g(pairs)).sum((1, 2)))


def set_attention(m, x):
    h = m.mha(m.seeds.expand(len(x), -1, -1), x, x, need_weights=False)[0]
    return m.out(h).flatten(1)


CASES = [
    Case("deep sets", net(deep_sets, phi=linear(3, 5), rho=stack(linear(5, 4), nn.Tanh, linear(4, 2))), X),
    Case(
        "deep sets of different sizes",
        net(masked_set, phi=linear(3, 5), rho=linear(5, 2)),
        several(x=X, mask=lengths(5)),
    ),
    Case("equivariant layer on sets", net(equivariant, own=linear(3, 2), rest=linear(3, 2, False)), X),
    Case("point net, maximum", net(point_net, **AB), X),
    Case("point net, mean and maximum", net(point_net_mean, a=linear(3, 4), out=linear(8, 2)), X),
    Case("point net, attention", net(point_net_attention, score=linear(4, 1), **ONE), X),
    Case("point net that turns the points", net(transform_net, turn=linear(3, 9), **ONE), X),
    Case("relations of pairs", net(pairwise, g=linear(6, 5), f=linear(5, 2)), X),
    Case(
        "set transformer",
        net(
            set_attention,
            seeds=(1, 2, 4),
            mha=lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=3, batch_first=True),
            out=linear(4, 2),
        ),
        X,
    ),
]
