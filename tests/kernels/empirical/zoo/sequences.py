"""What has been put in the place of attention: mixers, Fourier transforms, state spaces."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, floats, linear, net


def mixer(m, x):
    x = x + m.b(F.gelu(m.a(m.norm1(x).mT))).mT
    return m.out((x + m.d(F.gelu(m.c(m.norm2(x))))).mean(1))


def gmlp(m, x):
    u, v = F.gelu(m.up(m.norm1(x))).chunk(2, -1)
    v = m.mix(m.norm2(v).mT).mT
    return m.out((x + m.down(u * v)).mean(1))


def fnet(m, x):
    x = m.norm(x + torch.fft.fft2(x, dim=(-2, -1)).real)
    return m.out((x + m.b(torch.relu(m.a(x)))).mean(1))


def diagonal_state_space(m, x):
    """A linear recurrence with a decay for every channel, by cumulative sums."""
    h, outs = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        h = torch.sigmoid(m.decay) * h + m.into * x[:, t]
        outs.append(h * m.out + m.skip * x[:, t])
    return m.head(torch.stack(outs, 1).tanh().mean(1))


def selective_state_space(m, x):
    """A state whose decay, inputs and outputs depend on the token (Gu, Dao 2023)."""
    step, b, c = m.project(x).split([4, 3, 3], -1)
    step = F.softplus(step + m.shift)
    h, outs = x.new_zeros(len(x), 4, 3), []
    for t in range(x.shape[1]):
        h = (-step[:, t, :, None] * m.a.exp()).exp() * h + step[:, t, :, None] * b[:, t, None] * x[:, t, :, None]
        outs.append((h * c[:, t, None]).sum(-1))
    return m.head(torch.stack(outs, 1) + m.skip * x)[:, -1]


CASES = [
    Case(
        "MLP-Mixer",
        net(
            mixer,
            norm1=lambda: nn.LayerNorm(4),
            a=linear(5, 6),
            b=linear(6, 5),
            norm2=lambda: nn.LayerNorm(4),
            c=linear(4, 6),
            d=linear(6, 4),
            out=linear(4, 2),
        ),
        floats(5, 4),
    ),
    Case(
        "gMLP",
        net(
            gmlp,
            norm1=lambda: nn.LayerNorm(4),
            up=linear(4, 8),
            norm2=lambda: nn.LayerNorm(4),
            mix=linear(5, 5),
            down=linear(4, 4),
            out=linear(4, 2),
        ),
        floats(5, 4),
    ),
    Case(
        "FNet",
        net(fnet, norm=lambda: nn.LayerNorm(4), a=linear(4, 6), b=linear(6, 4), out=linear(4, 2)),
        floats(5, 4),
    ),
    Case(
        "diagonal state space",
        net(diagonal_state_space, decay=(4,), into=(4,), out=(4,), skip=(4,), head=linear(4, 2)),
        floats(5, 4),
    ),
    Case(
        "selective state space",
        net(selective_state_space, project=linear(4, 10), shift=(4,), a=(4, 3), skip=(4,), head=linear(4, 2)),
        floats(5, 4),
    ),
]
