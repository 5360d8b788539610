"""Networks of dense layers: plain, shared, tied, written by hand."""

import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from tests.kernels.empirical.zoo.case import Case, Constant, Net, floats, linear, net, several, stack


def deep(depth, width):
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(width, 2))


def zero_last():
    last = nn.Linear(6, 3)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), last)


def frozen(keep):
    def build():
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 3))
        for name, p in model.named_parameters():
            p.requires_grad_(keep(name))
        return model

    return build


def tied(same_bias):
    def build():
        a, b = nn.Linear(5, 5), nn.Linear(5, 5)
        b.weight = a.weight
        if same_bias:
            b.bias = a.bias
        return nn.Sequential(a, nn.Tanh(), b, nn.GELU(), nn.Linear(5, 2))

    return build


def three_of_one():
    block = nn.Sequential(nn.Linear(5, 5), nn.Tanh())
    return nn.Sequential(block, block, block, nn.Linear(5, 3))


def decoder_is_encoder_transposed(m, x):
    return F.linear(torch.sigmoid(F.linear(x, m.w, m.b)), m.w.t(), m.c)


def stacked_layers(m, x):
    for k in range(len(m.w)):
        x = torch.tanh(x @ m.w[k] + m.b[k])
    return x


def unbound_layers(m, x):
    for w, b in zip(m.w.unbind(0), m.b.unbind(0), strict=True):
        x = torch.tanh(F.linear(x, w, b))
    return x


def batch_ensemble(m, x):
    """Members that share a weight and have their own signs (Wen, Tran, Ba 2020)."""
    h = torch.stack([torch.tanh(m.a(x * m.r[k])) * m.s[k] for k in range(len(m.r))])
    return m.b(h).mean(0)


def ensemble_by_bmm(m, x):
    h = torch.tanh(torch.baddbmm(m.b1, x.expand(3, *x.shape), m.w1))
    return torch.bmm(h, m.w2).mean(0)


def two_towers(m, a, b):
    u, v = m.tower(a), m.tower(b)
    return m.out(torch.cat([u * v, (u - v).abs()], -1))


def three_scores(m, a, b):
    return m.bilinear(torch.tanh(m.a(a)), torch.tanh(m.b(b)))


def maxout(m, x):
    return m.out(m.a(x).unflatten(-1, (4, 3)).amax(-1))


def swiglu(m, x):
    return m.down(F.silu(m.gate(x)) * m.up(x))


def fused_swiglu(m, x):
    gate, up = m.both(x).split([5, 5], dim=-1)
    return m.down(F.silu(gate) * up)


def learned_polynomial(m, x):
    h = m.a(x)
    return m.b(m.c[0] + m.c[1] * h + m.c[2] * h**2 + m.c[3] * h**3)


def kronecker(m, x):
    return m.out(torch.tanh(x @ torch.kron(m.p, m.q)))


def mixture_density(m, x):
    h = torch.tanh(m.a(x))
    return torch.cat([m.pi(h).log_softmax(-1), m.mu(h), F.softplus(m.sigma(h))], -1)


def constant_outputs(m, x):
    return m.c + torch.zeros(len(x), 1).to(x)


def residual(m, x):
    for layer in (m.a, m.b, m.a):
        x = x + torch.relu(layer(x))
    return m.out(x)


def dense_net(m, x):
    x = torch.cat([x, torch.relu(m.a(x))], 1)
    x = torch.cat([x, torch.relu(m.b(x))], 1)
    return m.out(x)


def into_places(m, x):
    out = x.new_zeros(len(x), 5)
    out[:, :2] = m.a(x)
    out[:, 2:] += m.b(x)
    return out


def two_parts_of_features(m, x):
    left, right = x[:, :2], x[:, 2:]
    return m.out(torch.cat([torch.tanh(m.a(left)), torch.sin(m.a(right))], 1))


CASES = [
    Case("linear", linear(4, 3), floats(4)),
    Case("linear without bias", linear(4, 3, False), floats(4)),
    Case("one output [n, 1]", stack(linear(4, 6), nn.ReLU, linear(6, 1)), floats(4)),
    Case(
        "one output [n]",
        net(lambda m, x: m.b(torch.tanh(m.a(x)))[:, 0], a=linear(4, 6), b=linear(6, 1)),
        floats(4),
    ),
    Case("one unit wide", stack(linear(4, 1), nn.Tanh, linear(1, 1), nn.Tanh, linear(1, 2)), floats(4)),
    Case("one input", stack(linear(1, 7), nn.Tanh, linear(7, 2)), floats(1)),
    Case("thirty layers", lambda: deep(30, 5), floats(5)),
    Case("no biases", stack(linear(4, 6, False), nn.ReLU, linear(6, 3, False)), floats(4)),
    Case("ntk parametrization", lambda: ng.MLP(5, 3, 7, 2, "erf", bias_std=0.3), floats(5)),
    Case("standard parametrization", lambda: ng.MLP(5, 3, 7, 2, "gelu", "standard", bias=True), floats(5)),
    Case("last layer zero", zero_last, floats(4), noise=0.0, idle=("0.weight", "0.bias")),
    Case("first half frozen", frozen(lambda name: name[0] != "0"), floats(4)),
    Case("biases alone are trained", frozen(lambda name: name.endswith("bias")), floats(4)),
    Case("middle layer alone is trained", frozen(lambda name: name[0] == "2"), floats(4)),
    Case("dense over tokens", stack(linear(4, 5), nn.Tanh, linear(5, 2)), floats(3, 4)),
    Case("dense over a grid", stack(linear(3, 4), nn.Tanh, linear(4, 2)), floats(2, 3, 3)),
    Case(
        "outputs in a grid", stack(linear(4, 6), nn.Tanh, linear(6, 6), lambda: nn.Unflatten(1, (2, 3))), floats(4)
    ),
    Case("log probabilities", stack(linear(4, 6), nn.Tanh, linear(6, 3), lambda: nn.LogSoftmax(-1)), floats(4)),
    Case("softmax over tokens", stack(linear(4, 5), lambda: nn.Softmax(1), linear(5, 2)), floats(3, 4)),
    Case("one block thrice", three_of_one, floats(5)),
    Case("tied weights", tied(False), floats(5)),
    Case("tied weights and biases", tied(True), floats(5)),
    Case("tied and transposed", net(decoder_is_encoder_transposed, w=(3, 5), b=(3,), c=(5,)), floats(5)),
    Case("stacked weights, indexed", net(stacked_layers, w=(3, 4, 4), b=(3, 4)), floats(4)),
    Case("stacked weights, unbound", net(unbound_layers, w=(3, 4, 4), b=(3, 4)), floats(4)),
    Case("batch ensemble", net(batch_ensemble, a=linear(4, 5), b=linear(5, 2), r=(3, 4), s=(3, 5)), floats(4)),
    Case("ensemble by bmm", net(ensemble_by_bmm, w1=(3, 4, 5), b1=(3, 1, 5), w2=(3, 5, 2)), floats(4)),
    Case(
        "two towers of one network",
        net(two_towers, tower=stack(linear(4, 5), nn.Tanh), out=linear(10, 2)),
        several(floats(4), floats(4)),
    ),
    Case(
        "bilinear layer",
        net(three_scores, a=linear(3, 4), b=linear(2, 5), bilinear=lambda: nn.Bilinear(4, 5, 3)),
        several(floats(3), floats(2)),
    ),
    Case("bilinear form", net(lambda m, x: torch.einsum("ni,oij,nj->no", x, m.w, x), w=(3, 4, 4)), floats(4)),
    Case(
        "einsum heads",
        net(lambda m, x: torch.einsum("nd,hdo->nho", x, m.w).tanh().flatten(1) @ m.v, w=(2, 4, 3), v=(6, 2)),
        floats(4),
    ),
    Case(
        "einsum over tokens",
        net(lambda m, x: torch.einsum("ntd,sto,dk->nsk", x, m.w, m.v).tanh(), w=(2, 5, 1), v=(4, 3)),
        floats(5, 4),
    ),
    Case(
        "tensordot",
        net(lambda m, x: torch.tensordot(x, m.w, dims=([2, 1], [0, 1])).tanh(), w=(4, 3, 2)),
        floats(3, 4),
    ),
    Case(
        "addmm",
        net(lambda m, x: torch.addmm(m.b, x, m.w, beta=0.5, alpha=2.0).tanh(), w=(4, 3), b=(3,)),
        floats(4),
    ),
    Case("weight on the left", net(lambda m, x: (m.w @ x + m.b).tanh().mean(2), w=(4, 5), b=(4, 1)), floats(5, 3)),
    Case(
        "matrix times vector",
        net(lambda m, x: torch.stack([torch.mv(m.w, row).tanh() for row in x]), w=(3, 4)),
        floats(4),
    ),
    Case("sum of products", net(lambda m, x: (x[:, None] * m.w).sum(-1).tanh(), w=(3, 4)), floats(4)),
    Case("Kronecker product of weights", net(kronecker, p=(2, 3), q=(3, 2), out=linear(6, 2)), floats(6)),
    Case("biases alone", net(lambda m, x: torch.tanh(x + m.b) + m.b, b=(4,)), floats(4)),
    Case("scales alone", net(lambda m, x: torch.tanh(x * m.s) * m.s.exp(), s=(4,)), floats(4)),
    Case("outputs that no input changes", net(constant_outputs, c=(3,)), floats(4)),
    Case(
        "unused layer",
        net(lambda m, x: torch.tanh(m.a(x)), a=linear(4, 3), b=linear(5, 5)),
        floats(4),
        idle=("b.weight", "b.bias"),
    ),
    Case(
        "residual with one layer twice", net(residual, a=linear(4, 4), b=linear(4, 4), out=linear(4, 2)), floats(4)
    ),
    Case("dense connections", net(dense_net, a=linear(4, 3), b=linear(7, 3), out=linear(10, 2)), floats(4)),
    Case("maxout", net(maxout, a=linear(4, 12), out=linear(4, 2)), floats(4)),
    Case("SwiGLU", net(swiglu, gate=linear(4, 5), up=linear(4, 5), down=linear(5, 2)), floats(4)),
    Case("SwiGLU, one matrix", net(fused_swiglu, both=linear(4, 10), down=linear(5, 2)), floats(4)),
    Case("learned polynomial", net(learned_polynomial, a=linear(4, 5), b=linear(5, 2), c=(4,)), floats(4)),
    Case(
        "mixture density network",
        net(mixture_density, a=linear(3, 6), pi=linear(6, 2), mu=linear(6, 2), sigma=linear(6, 2)),
        floats(3),
    ),
    Case("outputs put in places", net(into_places, a=linear(4, 2), b=linear(4, 3)), floats(4)),
    Case("one layer on two parts", net(two_parts_of_features, a=linear(2, 4), out=linear(8, 2)), floats(4)),
    Case(
        "random features, readout trained",
        lambda: Net(lambda m, x: m.out(torch.cos(x @ m.w)), w=Constant(torch.randn(4, 9)), out=nn.Linear(9, 2)),
        floats(4),
    ),
]
