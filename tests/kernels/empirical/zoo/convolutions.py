"""Convolutions in one, two and three dimensions, and what people make of them."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, Constant, Net, floats, linear, net, stack


def conv(kind, *sizes, **options):
    """A convolution, tanh, and a dense readout of whatever size comes out."""
    return lambda: nn.Sequential(kind(*sizes, **options), nn.Tanh(), Readout())


class Readout(nn.Module):
    """Two fixed numbers of all channels and positions: their mean, and one in random directions."""

    def forward(self, x):
        flat = x.flatten(1)
        weights = torch.cos(torch.arange(flat.shape[1], device=x.device, dtype=x.dtype))
        return torch.stack([flat.mean(1), flat @ weights], 1)


def separable(m, x):
    return m.point(torch.relu(m.depth(x))).mean((2, 3))


def unfolded(m, x):
    patches = F.unfold(x, 3, padding=1)  # [n, 2·9, 16]
    return (m.w @ patches + m.b).tanh().mean(2)


def locally_connected(m, x):
    patches = x.unfold(2, 2, 1).unfold(3, 2, 1)  # [n, 2, 3, 3, 2, 2]
    return torch.einsum("nchwij,ochwij->nohw", patches, m.w).tanh().sum((2, 3))


def fold(m, x):
    patches = m.a(F.unfold(x, 2, stride=2).transpose(1, 2)).tanh()
    return F.fold(patches.transpose(1, 2), (4, 4), 2, stride=2)


def one_filter_for_all_channels(m, x):
    return F.conv2d(x, m.w.expand(3, 1, 3, 3), groups=3, padding=1).tanh().mean((2, 3))


def two_dilations_of_one_filter(m, x):
    return torch.cat([F.conv1d(x, m.w, m.b, padding=d, dilation=d).tanh().mean(2) for d in (1, 2)], 1)


def symmetric_filter(m, x):
    w = m.w + m.w.flip(-1)
    return F.conv1d(x, w, m.b).tanh().mean(2)


def causal(m, x):
    for layer in (m.a, m.b):
        x = torch.relu(layer(F.pad(x, (2 * layer.dilation[0], 0))))
    return x


def dynamic(m, x):
    """A filter for every example, mixed from three (Chen et al. 2020)."""
    mix = torch.softmax(m.choose(x.mean((2, 3))), 1)
    filters = torch.einsum("nk,koihw->noihw", mix, m.w)
    patches = F.unfold(x, 3).unflatten(1, (2, 9))
    return torch.einsum("noik,niks->nos", filters.flatten(3), patches).tanh().mean(2)


def examples_as_groups(m, x):
    """All examples in one grouped convolution, the way per-example filters are applied."""
    n, c = x.shape[:2]
    w = m.w.repeat(n, 1, 1, 1)
    return F.conv2d(x.reshape(1, n * c, *x.shape[2:]), w, groups=n).reshape(n, -1).tanh()


def frames(m, x):
    n, t = x.shape[:2]
    h = m.conv(x.flatten(0, 1)).relu().mean((2, 3))
    return m.out(h.view(n, t, -1).flatten(1))


def over_tokens(m, x):
    return m.conv(x.transpose(1, 2)).tanh().transpose(1, 2).mean(1)


def fixed_then_learned(m, x):
    edges = F.conv2d(x, m.sobel, padding=1)
    return m.out(torch.relu(m.conv(edges)).mean((2, 3)))


def one_image_alone(m, x):
    """Each image by itself, without an axis for examples: [c, h, w]."""
    return torch.stack([m.conv(image).tanh().sum((1, 2)) for image in x])


def shared_branches(m, x):
    a, b = x.chunk(2, 1)
    return m.out(torch.cat([m.conv(a), m.conv(b), m.conv(a - b)], 1).relu().mean((2, 3)))


def sobel():
    return Constant(torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).view(1, 1, 3, 3))


CASES = [
    Case("conv1d", conv(nn.Conv1d, 2, 3, 3), floats(2, 7)),
    Case("conv1d strided dilated", conv(nn.Conv1d, 2, 3, 2, stride=2, padding=2, dilation=3), floats(2, 8)),
    Case("conv1d groups", conv(nn.Conv1d, 4, 6, 3, groups=2), floats(4, 6)),
    Case("conv1d same", conv(nn.Conv1d, 2, 3, 4, padding="same"), floats(2, 6)),
    Case("conv2d", conv(nn.Conv2d, 2, 3, 3), floats(2, 5, 5)),
    Case("conv2d without bias", conv(nn.Conv2d, 2, 3, (2, 3), bias=False), floats(2, 4, 5)),
    Case("conv2d 1x1", conv(nn.Conv2d, 3, 4, 1), floats(3, 3, 3)),
    Case("conv2d strided padded", conv(nn.Conv2d, 2, 3, 3, stride=2, padding=(1, 2)), floats(2, 5, 4)),
    Case("conv2d 1x1 strided", conv(nn.Conv2d, 2, 3, 1, stride=2, padding=1), floats(2, 4, 4)),
    Case("conv2d as large as the image", conv(nn.Conv2d, 2, 5, 4), floats(2, 4, 4)),
    Case("conv2d dilated", conv(nn.Conv2d, 2, 3, 2, dilation=(1, 2)), floats(2, 4, 5)),
    Case("conv2d groups", conv(nn.Conv2d, 4, 6, 3, groups=2, stride=(1, 2)), floats(4, 4, 5)),
    Case("conv2d depthwise", conv(nn.Conv2d, 3, 3, 3, groups=3, padding=1), floats(3, 4, 4)),
    Case("conv2d depthwise, two a channel", conv(nn.Conv2d, 2, 4, 2, groups=2), floats(2, 4, 4)),
    Case("conv2d circular", conv(nn.Conv2d, 2, 3, 3, padding=1, padding_mode="circular"), floats(2, 4, 4)),
    Case("conv2d reflect", conv(nn.Conv2d, 2, 3, 3, padding=1, padding_mode="reflect"), floats(2, 4, 4)),
    Case("conv2d replicate", conv(nn.Conv2d, 2, 3, 3, padding="same", padding_mode="replicate"), floats(2, 4, 4)),
    Case(
        "conv2d circular strided groups",
        conv(nn.Conv2d, 2, 4, 3, stride=2, padding=(2, 1), groups=2, padding_mode="circular"),
        floats(2, 4, 5),
    ),
    Case("conv3d", conv(nn.Conv3d, 1, 3, 2, stride=(1, 2, 1)), floats(1, 3, 4, 4)),
    Case("conv3d depthwise", conv(nn.Conv3d, 2, 2, (1, 3, 2), groups=2, padding=(0, 1, 0)), floats(2, 2, 3, 3)),
    Case("transposed 1d", conv(nn.ConvTranspose1d, 2, 3, 3, stride=2), floats(2, 4)),
    Case(
        "transposed 2d", conv(nn.ConvTranspose2d, 2, 3, 3, stride=2, padding=1, output_padding=1), floats(2, 3, 3)
    ),
    Case("transposed 2d groups", conv(nn.ConvTranspose2d, 4, 4, 2, groups=2, dilation=2), floats(4, 3, 3)),
    Case("transposed 2d depthwise", conv(nn.ConvTranspose2d, 3, 3, 2, groups=3, stride=2), floats(3, 2, 2)),
    Case(
        "transposed 2d with gaps", conv(nn.ConvTranspose2d, 2, 3, 1, stride=3, output_padding=2), floats(2, 2, 2)
    ),
    Case("transposed 3d", conv(nn.ConvTranspose3d, 1, 2, 2, bias=False), floats(1, 2, 2, 2)),
    Case(
        "depthwise separable",
        net(separable, depth=lambda: nn.Conv2d(3, 3, 3, groups=3), point=lambda: nn.Conv2d(3, 4, 1)),
        floats(3, 5, 5),
    ),
    Case("convolution by unfold", net(unfolded, w=(3, 18), b=(3, 1)), floats(2, 4, 4)),
    Case("locally connected", net(locally_connected, w=(2, 2, 3, 3, 2, 2)), floats(2, 4, 4)),
    Case("patches folded to an image", net(fold, a=linear(4, 4)), floats(1, 4, 4)),
    Case("one filter for all channels", net(one_filter_for_all_channels, w=(1, 1, 3, 3)), floats(3, 4, 4)),
    Case("two dilations of one filter", net(two_dilations_of_one_filter, w=(2, 3, 3), b=(2,)), floats(3, 7)),
    Case("symmetric filter", net(symmetric_filter, w=(2, 3, 3), b=(2,)), floats(3, 7)),
    Case(
        "causal convolutions",
        net(causal, a=lambda: nn.Conv1d(2, 3, 3), b=lambda: nn.Conv1d(3, 2, 3, dilation=2)),
        floats(2, 5),
    ),
    Case("dynamic convolution", net(dynamic, choose=linear(2, 3), w=(3, 2, 2, 3, 3)), floats(2, 4, 4)),
    Case("examples as groups", net(examples_as_groups, w=(2, 2, 2, 2)), floats(2, 3, 3)),
    Case("frames as examples", net(frames, conv=lambda: nn.Conv2d(1, 3, 2), out=linear(9, 2)), floats(3, 1, 4, 4)),
    Case("convolution over tokens", net(over_tokens, conv=lambda: nn.Conv1d(4, 3, 3, padding=1)), floats(5, 4)),
    Case(
        "fixed filter before a learned one",
        lambda: Net(fixed_then_learned, sobel=sobel(), conv=nn.Conv2d(1, 3, 2), out=nn.Linear(3, 2)),
        floats(1, 5, 5),
    ),
    Case("images one at a time", net(one_image_alone, conv=lambda: nn.Conv2d(2, 3, 2)), floats(2, 3, 3)),
    Case(
        "one convolution on three branches",
        net(shared_branches, conv=lambda: nn.Conv2d(2, 3, 2), out=linear(9, 2)),
        floats(4, 4, 4),
    ),
    Case(
        "pooling of all kinds",
        stack(
            lambda: nn.Conv2d(1, 3, 3, padding=1),
            nn.ReLU,
            lambda: nn.MaxPool2d(2),
            lambda: nn.Conv2d(3, 4, 2),
            lambda: nn.AvgPool2d(2, 1),
            lambda: nn.AdaptiveAvgPool2d(1),
            nn.Flatten,
            linear(4, 2),
        ),
        floats(1, 8, 8),
    ),
    Case(
        "lazy pooling and LP pooling",
        stack(lambda: nn.Conv1d(2, 3, 2), lambda: nn.LPPool1d(2, 2), lambda: nn.AdaptiveMaxPool1d(2), nn.Flatten),
        floats(2, 9),
    ),
    Case(
        "channels last",
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), Readout()).to(memory_format=torch.channels_last),
        floats(2, 5, 5),
    ),
]
