"""Networks that exercise the rule of each layer, and its options."""

import torch
from torch import nn

import ntkgap as ng
from tests.kernels.empirical.modules import Case, With


def conv_net(conv, features, channels=4):
    return lambda: nn.Sequential(conv(), nn.Tanh(), nn.Flatten(), nn.Linear(features, 3))


def norm_net(norm, shape):
    def build():
        size = torch.Size(shape).numel()
        return nn.Sequential(nn.Linear(shape[-1], shape[-1]), norm(), nn.Tanh(), nn.Flatten(), nn.Linear(size, 2))

    return build


def folded_frames():
    """Frames of a clip go through a convolution as if they were examples."""

    def forward(m, x):
        n, t = x.shape[:2]
        return m.out(m.conv(x.flatten(0, 1)).tanh().view(n, t, -1).mean(1))

    return With(forward, conv=nn.Conv2d(1, 2, 2), out=nn.Linear(8, 2))


def bag():
    return With(
        lambda m, x: m.out(m.table(x).tanh().sum(1)),
        table=nn.Embedding(6, 3, padding_idx=0),
        out=nn.Linear(3, 2),
    )


def image_norm(norm):
    return lambda: nn.Sequential(nn.Conv2d(2, 4, 3), norm(), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))


LAYERS = [
    Case("mlp ntk", lambda: ng.MLP(5, 3, 8, 2), (5,)),
    Case("mlp ntk bias", lambda: ng.MLP(5, 3, 8, 2, bias_std=0.5), (5,)),
    Case("mlp standard bias", lambda: ng.MLP(5, 3, 8, 2, "gelu", "standard", bias=True), (5,)),
    Case("shallow", lambda: ng.models.ShallowNet(5, 16, "erf"), (5,)),
    Case("linear only", lambda: nn.Linear(4, 3), (4,)),
    Case("linear without bias", lambda: nn.Linear(4, 3, bias=False), (4,)),
    Case("tokens", lambda: nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Flatten(), nn.Linear(18, 2)), (3, 4)),
    Case(
        "grid of tokens",
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Flatten(), nn.Tanh(), nn.Linear(12, 2)),
        (2, 2, 4),
    ),
    Case("conv1d", conv_net(lambda: nn.Conv1d(2, 4, 3), 20), (2, 7)),
    Case(
        "conv1d stride dilation",
        conv_net(lambda: nn.Conv1d(2, 4, 2, stride=2, dilation=2, padding=1), 16),
        (2, 7),
    ),
    Case("conv2d", conv_net(lambda: nn.Conv2d(2, 4, 3), 36), (2, 5, 5)),
    Case("conv2d no bias", conv_net(lambda: nn.Conv2d(2, 4, (2, 3), bias=False), 48), (2, 5, 5)),
    Case("conv2d stride padding", conv_net(lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1), 36), (2, 5, 6)),
    Case("conv2d same", conv_net(lambda: nn.Conv2d(2, 4, (2, 4), padding="same"), 80), (2, 4, 5)),
    Case(
        "conv2d circular",
        conv_net(lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), 64),
        (2, 4, 4),
    ),
    Case(
        "conv2d reflect",
        conv_net(lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), 64),
        (2, 4, 4),
    ),
    Case(
        "conv2d replicate",
        conv_net(lambda: nn.Conv2d(2, 4, 3, padding="same", padding_mode="replicate"), 64),
        (2, 4, 4),
    ),
    Case("conv2d dilation", conv_net(lambda: nn.Conv2d(2, 4, 2, dilation=(1, 2)), 48), (2, 5, 5)),
    Case("conv2d groups", conv_net(lambda: nn.Conv2d(4, 4, 3, groups=2, stride=(1, 2)), 24), (4, 5, 5)),
    Case("conv2d depthwise", conv_net(lambda: nn.Conv2d(2, 4, 2, groups=2), 36), (2, 4, 4)),
    Case("conv3d", conv_net(lambda: nn.Conv3d(1, 4, 2, stride=(1, 2, 1)), 48), (1, 3, 4, 4)),
    Case("conv transpose 1d", conv_net(lambda: nn.ConvTranspose1d(2, 4, 3, stride=2), 36), (2, 4)),
    Case(
        "conv transpose 2d",
        conv_net(lambda: nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1), 144),
        (2, 3, 3),
    ),
    Case(
        "conv transpose groups",
        conv_net(lambda: nn.ConvTranspose2d(4, 4, 2, groups=2, dilation=2), 100),
        (4, 3, 3),
    ),
    Case(
        "conv transpose pad",
        conv_net(lambda: nn.ConvTranspose2d(2, 4, 1, stride=3, output_padding=2), 144),
        (2, 2, 2),
    ),
    Case("conv transpose 3d", conv_net(lambda: nn.ConvTranspose3d(1, 4, 2, bias=False), 108), (1, 2, 2, 2)),
    Case("frames as examples", folded_frames, (3, 1, 3, 3)),
    Case(
        "embedding",
        lambda: nn.Sequential(nn.Embedding(6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)),
        (4,),
        tokens=6,
    ),
    Case("embedding padding", bag, (5,), tokens=6),
    Case("layer norm", norm_net(lambda: nn.LayerNorm(4), (4,)), (4,)),
    Case("layer norm tokens", norm_net(lambda: nn.LayerNorm((3, 4)), (3, 4)), (3, 4)),
    Case("layer norm no bias", norm_net(lambda: nn.LayerNorm(4, bias=False), (3, 4)), (3, 4)),
    Case("rms norm", norm_net(lambda: nn.RMSNorm(4), (3, 4)), (3, 4)),
    Case("group norm", image_norm(lambda: nn.GroupNorm(2, 4)), (2, 5, 5)),
    Case("instance norm", image_norm(lambda: nn.InstanceNorm2d(4, affine=True)), (2, 5, 5)),
    Case("batch norm eval", lambda: image_norm(lambda: nn.BatchNorm2d(4))().eval(), (2, 5, 5)),
    Case("batch norm 1d eval", lambda: norm_net(lambda: nn.BatchNorm1d(4), (4,))().eval(), (4,)),
    Case("prelu one", lambda: nn.Sequential(nn.Linear(4, 5), nn.PReLU(), nn.Linear(5, 2)), (4,), rows=True),
    Case("prelu channels", image_norm(lambda: nn.PReLU(4)), (2, 5, 5), rows=True),
]
