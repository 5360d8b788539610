"""Learned numbers, gates and mixtures; biases that are shared by outputs or positions."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, floats, linear, net, several, stack, tokens


def rezero(m, x):
    for k, layer in enumerate((m.a, m.b)):
        x = x + m.alpha[k] * torch.tanh(layer(x))
    return m.out(x)


def rezero_scalars(m, x):
    x = x + m.alpha * torch.tanh(m.a(x))
    return m.out(x + m.beta * torch.tanh(m.b(x)))


def layer_scale(m, x):
    x = x + m.gamma * m.a(x)
    return (x + m.delta * torch.relu(m.b(x))).mean(1)


def swish(m, x):
    h = m.a(x)
    return m.b(h * torch.sigmoid(m.beta * h))


def highway(m, x):
    for layer in (m.a, m.b):
        value, gate = layer(x).chunk(2, -1)
        gate = torch.sigmoid(gate)
        x = gate * torch.relu(value) + (1 - gate) * x
    return m.out(x)


def soft_experts(m, x):
    share = m.gate(x).softmax(-1)
    each = torch.stack([torch.tanh(expert(x)) for expert in m.experts], -1)
    return m.out((each * share[:, None]).sum(-1))


def soft_experts_in_one(m, x):
    each = torch.tanh(torch.einsum("nd,kdo->nko", x, m.w) + m.b)
    return torch.einsum("nk,nko->no", m.gate(x).softmax(-1), each)


def best_expert(m, x):
    """Only one expert counts; all are evaluated."""
    share = m.gate(x).softmax(-1)
    best = F.one_hot(share.argmax(-1), 3).to(x.dtype)
    each = torch.stack([torch.tanh(expert(x)) for expert in m.experts], 1)
    return ((share * best)[..., None] * each).sum(1)


def routed(m, x):
    """Only those examples that an expert is chosen for pass through it."""
    share, best = m.gate(x).softmax(-1).max(-1)
    out = x.new_zeros(len(x), 4)
    for k, expert in enumerate(m.experts):
        mine = best == k
        if mine.any():
            out[mine] = torch.tanh(expert(x[mine]))
    return share[:, None] * out


def three_experts():
    return nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])


def squeeze_and_excite(m, x):
    x = torch.relu(m.conv(x))
    gate = torch.sigmoid(m.up(torch.relu(m.down(x.mean((2, 3))))))
    return (x * gate[..., None, None]).amax((2, 3))


def spatial_gate(m, x):
    x = m.conv(x)
    gate = torch.sigmoid(m.gate(torch.stack([x.mean(1), x.amax(1)], 1)))
    return (x * gate).mean((2, 3))


def one_bias_for_all_outputs(m, x):
    return torch.tanh(m.a(x)) + m.b


def one_bias_for_all_positions(m, x):
    return torch.tanh(m.a(x) + m.b).flatten(1) + m.c


def bias_of_every_place(m, x):
    return (m.conv(x) + m.place + m.row).tanh().flatten(1)


def tied_scalar(m, x):
    return m.s * torch.tanh(m.a(x) * m.s) / (1 + m.s**2)


def temperature(m, x):
    return (m.a(x) / m.t.exp()).log_softmax(-1)


def platt(m, x):
    with torch.no_grad():
        z = m.a(x)
    return z * m.scale + m.shift


def srelu(m, x):
    h = m.a(x)
    return m.b(torch.where(h > m.right, m.right + m.slope * (h - m.right), torch.maximum(h, m.left)))


def learned_mixture_of_activations(m, x):
    h = m.a(x)
    each = torch.stack([torch.relu(h), torch.tanh(h), h], -1)
    return m.b((each * m.mix.softmax(-1)).sum(-1))


def rational(m, x):
    h = m.a(x)
    return m.b((m.p[0] + m.p[1] * h + m.p[2] * h * h) / (1 + (m.q[0] * h).abs() + (m.q[1] * h * h).abs()))


def conditional_gate(m, x, task):
    return m.out(torch.relu(m.a(x)) * m.gates(task).sigmoid())


def heads_of_tasks(m, x, task):
    """All heads are evaluated, and each example keeps that of its task."""
    every = torch.stack([head(torch.tanh(m.a(x))) for head in m.heads], 1)
    return every[torch.arange(len(x)), task]


def uncertainty_weights(m, x):
    h = torch.tanh(m.a(x))
    return torch.cat([m.b(h) * (-m.s[0]).exp(), m.c(h) * (-m.s[1]).exp() + m.s.sum()], 1)


CASES = [
    Case("ReZero", net(rezero, a=linear(4, 4), b=linear(4, 4), alpha=(2,), out=linear(4, 2)), floats(4)),
    Case(
        "ReZero, two numbers",
        net(rezero_scalars, a=linear(4, 4), b=linear(4, 4), alpha=(), beta=(1,), out=linear(4, 2)),
        floats(4),
    ),
    Case(
        "ReZero at zero",
        net(rezero, a=linear(4, 4), b=linear(4, 4), alpha=lambda: torch.zeros(2), out=linear(4, 2)),
        floats(4),
        noise=0.0,
        idle=("a.weight", "a.bias", "b.weight", "b.bias"),
    ),
    Case(
        "LayerScale", net(layer_scale, a=linear(4, 4), b=linear(4, 4), gamma=(4,), delta=(1, 1, 4)), floats(3, 4)
    ),
    Case("PReLU, one slope", stack(linear(4, 5), nn.PReLU, linear(5, 2)), floats(4)),
    Case(
        "PReLU, a slope for each channel",
        stack(lambda: nn.Conv2d(2, 3, 2), lambda: nn.PReLU(3), nn.Flatten, linear(27, 2)),
        floats(2, 4, 4),
    ),
    Case("learned swish", net(swish, a=linear(4, 5), beta=(), b=linear(5, 2)), floats(4)),
    Case("SReLU", net(srelu, a=linear(4, 5), left=(5,), right=(5,), slope=(5,), b=linear(5, 2)), floats(4)),
    Case(
        "mixture of activations",
        net(learned_mixture_of_activations, a=linear(4, 5), mix=(3,), b=linear(5, 2)),
        floats(4),
    ),
    Case("rational activation", net(rational, a=linear(4, 5), p=(3,), q=(2,), b=linear(5, 2)), floats(4)),
    Case("highway", net(highway, a=linear(4, 8), b=linear(4, 8), out=linear(4, 2)), floats(4)),
    Case(
        "soft mixture of experts",
        net(soft_experts, experts=three_experts, gate=linear(4, 3), out=linear(4, 2)),
        floats(4),
    ),
    Case(
        "soft mixture of experts in one tensor",
        net(soft_experts_in_one, w=(3, 4, 2), b=(3, 2), gate=linear(4, 3)),
        floats(4),
    ),
    Case(
        "the best of three experts", net(best_expert, experts=three_experts, gate=linear(4, 3, False)), floats(4)
    ),
    Case("examples sent to experts", net(routed, experts=three_experts, gate=linear(4, 3, False)), floats(4)),
    Case(
        "squeeze and excite",
        net(squeeze_and_excite, conv=lambda: nn.Conv2d(2, 4, 2), down=linear(4, 2), up=linear(2, 4)),
        floats(2, 4, 4),
    ),
    Case(
        "spatial gate",
        net(spatial_gate, conv=lambda: nn.Conv2d(2, 3, 1), gate=lambda: nn.Conv2d(2, 1, 3, padding=1)),
        floats(2, 4, 4),
    ),
    Case("one bias for all outputs", net(one_bias_for_all_outputs, a=linear(4, 5, False), b=(1,)), floats(4)),
    Case("one number for all outputs", net(one_bias_for_all_outputs, a=linear(4, 5, False), b=()), floats(4)),
    Case(
        "one bias for all positions",
        net(one_bias_for_all_positions, a=linear(4, 3, False), b=(3, 1), c=()),
        floats(3, 4),
    ),
    Case(
        "a bias for all pixels of a channel, outputs an image",
        stack(lambda: nn.Conv2d(1, 3, 3, padding=1), nn.ReLU, lambda: nn.Conv2d(3, 1, 1), nn.Flatten),
        floats(1, 4, 4),
    ),
    Case(
        "biases of places and rows",
        net(bias_of_every_place, conv=lambda: nn.Conv2d(1, 2, 1, bias=False), place=(2, 3, 3), row=(3, 1)),
        floats(1, 3, 3),
    ),
    Case("one number thrice", net(tied_scalar, a=linear(4, 3), s=()), floats(4)),
    Case("learned temperature", net(temperature, a=linear(4, 3), t=(1,)), floats(4)),
    Case(
        "Platt scaling", net(platt, a=linear(4, 3), scale=(), shift=(3,)), floats(4), idle=("a.weight", "a.bias")
    ),
    Case(
        "gates by task",
        net(conditional_gate, a=linear(4, 5), gates=lambda: nn.Embedding(3, 5), out=linear(5, 2)),
        several(floats(4), tokens(3)),
    ),
    Case(
        "a head for each task",
        net(heads_of_tasks, a=linear(4, 5), heads=lambda: nn.ModuleList([nn.Linear(5, 2) for _ in range(3)])),
        several(floats(4), tokens(3)),
    ),
    Case(
        "learned weights of two outputs",
        net(uncertainty_weights, a=linear(4, 5), b=linear(5, 2), c=linear(5, 1), s=(2,)),
        floats(4),
    ),
]
