"""Weights that are changed by pruning, normalization, adapters and quantization."""

import warnings

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

from tests.kernels.empirical.zoo.case import Case, Net, floats, linear, net


def changed(change, hidden=5):
    """A network whose first layer has been changed."""

    def build():
        return nn.Sequential(change(nn.Linear(4, hidden)), nn.Tanh(), nn.Linear(hidden, 3)).eval()

    return build


def pruned(layer):
    return prune.random_unstructured(layer, "weight", amount=0.4)


def pruned_twice(layer):
    prune.random_structured(layer, "weight", amount=1, dim=0)
    prune.random_unstructured(layer, "bias", amount=2)
    return prune.random_unstructured(layer, "weight", amount=0.4)


def old_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


class Symmetric(nn.Module):
    def forward(self, w):
        return w.triu() + w.triu(1).mT


class Skew(nn.Module):
    def forward(self, w):
        return torch.matrix_exp(w.triu(1) - w.triu(1).mT)


class Positive(nn.Module):
    def forward(self, w):
        return F.softplus(w)


def parametrized(kind, size=4):
    def build():
        layer = nn.Linear(size, size)
        parametrize.register_parametrization(layer, "weight", kind())
        return nn.Sequential(layer, nn.Tanh(), nn.Linear(size, 3))

    return build


def convolution_with_weight_norm():
    conv = parametrizations.weight_norm(nn.Conv2d(2, 3, 2))
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))


def recurrent_with_weight_norm():
    rnn = parametrizations.weight_norm(nn.RNN(3, 4, batch_first=True), "weight_hh_l0")
    return Net(lambda m, x: m.out(m.rnn(x)[0][:, -1]), rnn=rnn, out=nn.Linear(4, 2))


def of(weight, **parts):
    """A hidden layer whose weight [4, 5] is a function of the parts."""
    return net(lambda m, x: m.out(torch.tanh(x @ weight(m))), out=linear(5, 3), **parts)


def low_rank_adapter(frozen):
    def build():
        base = nn.Linear(4, 5)
        if frozen:
            base.requires_grad_(False)
        return Net(
            lambda m, x: m.out(torch.tanh(F.linear(x, m.base.weight + 0.5 * m.b @ m.a, m.base.bias))),
            base=base,
            a=(2, 4),
            b=(5, 2),
            out=nn.Linear(5, 3),
        )

    return build


def adapter_path(m, x):
    return m.out(torch.tanh(m.base(x) + 2.0 * m.b(m.a(x))))


def dora(m, x):
    w = m.base.weight + m.b @ m.a
    return m.out(torch.tanh(F.linear(x, m.size[:, None] * w / w.norm(dim=1, keepdim=True), m.base.bias)))


def straight_through(m):
    rounded = (m.w * 4).round() / 4
    return m.w + (rounded - m.w).detach()


def binary(m):
    return m.w.abs().mean().detach() * (torch.sign(m.w) - m.w).detach() + m.w


class Int8(nn.Module):
    """A frozen weight in int8, with a scale for every output that is trained."""

    def __init__(self):
        super().__init__()
        self.q = nn.Parameter(torch.randint(-127, 127, (5, 4), dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.full((5, 1), 0.01))
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.tanh(F.linear(x, self.q.to(x.dtype) * self.scale)))


class Int8Buffer(nn.Module):
    """The same with buffers, and nothing to learn but the readout."""

    def __init__(self):
        super().__init__()
        self.register_buffer("q", torch.randint(-127, 127, (5, 4), dtype=torch.int8))
        self.register_buffer("scale", torch.tensor(0.01))
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.tanh(F.linear(x, self.q.to(x.dtype) * self.scale)))


CASES = [
    Case("pruned", changed(pruned), floats(4)),
    Case("pruned twice", changed(pruned_twice), floats(4)),
    Case("weight norm", changed(parametrizations.weight_norm), floats(4)),
    Case("weight norm, the old hook", changed(old_weight_norm), floats(4)),
    Case("weight norm of a convolution", convolution_with_weight_norm, floats(2, 4, 4)),
    Case("weight norm of a recurrent layer", recurrent_with_weight_norm, floats(4, 3)),
    Case("spectral norm", changed(parametrizations.spectral_norm), floats(4)),
    Case(
        "orthogonal, Cayley",
        changed(lambda m: parametrizations.orthogonal(m, orthogonal_map="cayley"), 4),
        floats(4),
    ),
    Case("orthogonal, Householder", changed(parametrizations.orthogonal), floats(4)),
    Case("symmetric weight", parametrized(Symmetric), floats(4)),
    Case("exponential of a skew matrix", parametrized(Skew), floats(4)),
    Case("positive weights", parametrized(Positive), floats(4)),
    Case("LoRA, sum of weights", low_rank_adapter(False), floats(4)),
    Case("LoRA, frozen base", low_rank_adapter(True), floats(4)),
    Case(
        "LoRA, separate path",
        net(adapter_path, base=linear(4, 5), a=linear(4, 2, False), b=linear(2, 5, False), out=linear(5, 3)),
        floats(4),
    ),
    Case(
        "LoRA over tokens",
        net(
            lambda m, x: adapter_path(m, x).mean(1),
            base=linear(4, 5),
            a=linear(4, 2, False),
            b=linear(2, 5, False),
            out=linear(5, 3),
        ),
        floats(3, 4),
    ),
    Case("DoRA", net(dora, base=linear(4, 5), a=(2, 4), b=(5, 2), size=(5,), out=linear(5, 3)), floats(4)),
    Case("straight-through rounding", of(straight_through, w=(4, 5)), floats(4)),
    Case("straight-through signs", of(binary, w=(4, 5)), floats(4)),
    Case("int8 weight, learned scale", Int8, floats(4), noise=0.001),
    Case("int8 weight as a buffer", Int8Buffer, floats(4)),
]
