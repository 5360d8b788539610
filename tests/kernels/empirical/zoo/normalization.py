"""Normalizations: of features, channels, weights; with fixed statistics, or with an example's own."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, Net, floats, linear, net, several, stack

LLAMA = {"double": 1e-5, "single": 1e-3}  # the statistics are in float32, whatever the network is in


class LlamaNorm(nn.Module):
    """RMSNorm as in Llama, Mistral, Qwen, T5: statistics in float32."""

    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        given = x.dtype
        x = x.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * x.to(given)


class GemmaNorm(LlamaNorm):
    """The weight is added to 1 and multiplied in float32."""

    def forward(self, x):
        h = x.float()
        h = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (h * (1.0 + self.weight.float())).type_as(x)


def around(norm, d=4):
    return stack(linear(d, d), norm, nn.Tanh, linear(d, 3))


def image(norm, channels=4):
    return lambda: nn.Sequential(
        nn.Conv2d(2, channels, 2), norm(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2)
    ).eval()


def batch_norm_of_tokens(m, x):
    return m.out(torch.tanh(m.norm(m.a(x).transpose(1, 2))).mean(2))


def weight_standardized(m, x):
    w = m.conv.weight
    w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
    return m.norm(F.conv2d(x, w, m.conv.bias)).relu().mean((2, 3))


def cosine_classifier(m, x):
    return m.scale * F.linear(F.normalize(m.a(x), dim=-1), F.normalize(m.w, dim=-1))


def film(m, x, condition):
    gain, shift = m.film(condition).chunk(2, -1)
    return m.out(torch.relu((1 + gain) * m.norm(m.a(x)) + shift))


def adaptive_norm(m, x, t):
    """As in diffusion transformers: gain, shift and gate from a condition."""
    gain, shift, gate = m.modulate(F.silu(t)).chunk(3, -1)
    h = m.norm(x) * (1 + gain[:, None]) + shift[:, None]
    return (x + gate[:, None] * m.a(h)).mean(1)


def response_norm(m, x):
    """Global response normalization of ConvNeXt V2."""
    x = m.conv(x)
    size = x.norm(dim=(2, 3), keepdim=True)
    return (m.gain * x * (size / (size.mean(1, keepdim=True) + 1e-6)) + m.bias + x).mean((2, 3))


def dynamic_tanh(m, x):
    return m.out(m.gain * torch.tanh(m.alpha * m.a(x)) + m.shift)


def frozen_affine():
    model = image(lambda: nn.BatchNorm2d(4))()
    model[1].requires_grad_(False)
    return model


def one_norm_twice(m, x):
    return m.out(m.norm(torch.tanh(m.a(m.norm(x)))))


def affine_by_buffers(m, x):
    return m.b(torch.tanh((m.a(x) - m.norm.running_mean) / m.norm.running_var.sqrt()))


CASES = [
    Case("layer norm", around(lambda: nn.LayerNorm(4)), floats(4)),
    Case("layer norm over tokens", around(lambda: nn.LayerNorm(4)), floats(3, 4)),
    Case("layer norm without bias", around(lambda: nn.LayerNorm(4, bias=False)), floats(3, 4)),
    Case("layer norm without parameters", around(lambda: nn.LayerNorm(4, elementwise_affine=False)), floats(4)),
    Case(
        "layer norm of images",
        stack(lambda: nn.Conv2d(2, 3, 2), lambda: nn.LayerNorm((3, 3, 3)), nn.Tanh, nn.Flatten, linear(27, 2)),
        floats(2, 4, 4),
    ),
    Case("layer norm first", stack(lambda: nn.LayerNorm(4), linear(4, 3)), floats(3, 4)),
    Case("RMSNorm", around(lambda: nn.RMSNorm(4)), floats(4)),
    Case("RMSNorm over tokens", around(lambda: nn.RMSNorm((3, 4)), 4), floats(3, 4)),
    Case("RMSNorm of Llama", around(lambda: LlamaNorm(4)), floats(4), **LLAMA),
    Case("RMSNorm of Llama over tokens", around(lambda: LlamaNorm(4)), floats(3, 4), **LLAMA),
    Case("RMSNorm of Gemma", around(lambda: GemmaNorm(4)), floats(3, 4), **LLAMA),
    Case("group norm", image(lambda: nn.GroupNorm(2, 4)), floats(2, 4, 4)),
    Case("group norm of one group", image(lambda: nn.GroupNorm(1, 4)), floats(2, 4, 4)),
    Case("batch norm 1d", lambda: around(lambda: nn.BatchNorm1d(4))().eval(), floats(4)),
    Case("batch norm 2d", image(lambda: nn.BatchNorm2d(4)), floats(2, 4, 4)),
    Case("batch norm without affine", image(lambda: nn.BatchNorm2d(4, affine=False)), floats(2, 4, 4)),
    Case("batch norm, frozen affine", frozen_affine, floats(2, 4, 4)),
    Case(
        "batch norm 3d",
        lambda: nn.Sequential(
            nn.Conv3d(1, 3, 2), nn.BatchNorm3d(3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2)
        ).eval(),
        floats(1, 3, 3, 3),
    ),
    Case(
        "batch norm of tokens",
        lambda: Net(batch_norm_of_tokens, a=nn.Linear(3, 4), norm=nn.BatchNorm1d(4), out=nn.Linear(4, 2)).eval(),
        floats(5, 3),
    ),
    Case("instance norm", image(lambda: nn.InstanceNorm2d(4, affine=True)), floats(2, 4, 4)),
    Case(
        "instance norm, running statistics",
        image(lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
        floats(2, 4, 4),
    ),
    Case(
        "instance norm 1d", stack(lambda: nn.Conv1d(2, 3, 2), lambda: nn.InstanceNorm1d(3), nn.Tanh), floats(2, 5)
    ),
    Case("local response norm", image(lambda: nn.LocalResponseNorm(2)), floats(2, 4, 4)),
    Case(
        "weight standardization",
        net(weight_standardized, conv=lambda: nn.Conv2d(2, 4, 3), norm=lambda: nn.GroupNorm(2, 4)),
        floats(2, 5, 5),
    ),
    Case(
        "cosine classifier",
        net(cosine_classifier, a=linear(4, 5), w=(3, 5), scale=lambda: torch.tensor(3.0)),
        floats(4),
    ),
    Case(
        "FiLM",
        net(
            film,
            a=linear(4, 5),
            norm=lambda: nn.LayerNorm(5, elementwise_affine=False),
            film=linear(3, 10),
            out=linear(5, 2),
        ),
        several(floats(4), floats(3)),
    ),
    Case(
        "adaptive layer norm",
        net(
            adaptive_norm,
            modulate=linear(3, 12),
            norm=lambda: nn.LayerNorm(4, elementwise_affine=False),
            a=linear(4, 4),
        ),
        several(floats(5, 4), floats(3)),
    ),
    Case(
        "global response norm",
        net(response_norm, conv=lambda: nn.Conv2d(2, 4, 2), gain=(1, 4, 1, 1), bias=(1, 4, 1, 1)),
        floats(2, 4, 4),
    ),
    Case(
        "dynamic tanh",
        net(dynamic_tanh, a=linear(4, 5), alpha=(1,), gain=(5,), shift=(5,), out=linear(5, 2)),
        floats(3, 4),
    ),
    Case(
        "one norm twice",
        net(one_norm_twice, norm=lambda: nn.LayerNorm(4), a=linear(4, 4), out=linear(4, 2)),
        floats(4),
    ),
    Case(
        "statistics read by hand",
        lambda: Net(
            affine_by_buffers, a=nn.Linear(4, 5), norm=nn.BatchNorm1d(5, affine=False), b=nn.Linear(5, 2)
        ).eval(),
        floats(4),
    ),
]
