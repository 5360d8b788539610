"""Image networks with one row of outputs an example: residual, dense, mobile, capsules."""

import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from tests.kernels.empirical.zoo.case import Case, Net, floats, linear, net, several, stack


class BasicBlock(nn.Module):
    """Two convolutions with BatchNorm and a shortcut (He et al. 2016)."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or cin != cout:
            self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        h = self.relu(self.bn1(self.conv1(x)))
        h = self.bn2(self.conv2(h))
        h += self.shortcut(x)
        return self.relu(h)


def resnet():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, 1, 1, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(inplace=True),
        BasicBlock(3, 3, 1),
        BasicBlock(3, 4, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    ).eval()


def pre_activation(m, x):
    h = torch.relu(m.norm1(x))
    return m.skip(h) + m.conv2(torch.relu(m.norm2(m.conv1(h))))


def fixup(m, x):
    """A residual block without normalization, with learned numbers as biases and scale."""
    h = torch.relu(m.conv1(x + m.b1) + m.b2)
    return torch.relu(m.conv2(h + m.b3) * m.scale + m.b4 + x).mean((2, 3))


def densenet(m, x):
    features = [x]
    for norm, conv in zip(m.norms, m.convs, strict=True):
        features.append(conv(torch.relu(norm(torch.cat(features, 1)))))
    return m.out(torch.cat(features, 1).mean((2, 3)))


def inverted_residual(m, x):
    h = F.relu6(m.bn1(m.expand(x)))
    h = F.relu6(m.bn2(m.depth(h)))
    return (x + m.bn3(m.project(h))).mean((2, 3))


def shuffle(m, x):
    h = m.group1(x)
    n, c, height, width = h.shape
    h = h.view(n, 2, c // 2, height, width).transpose(1, 2).reshape(n, c, height, width)
    return m.group2(torch.relu(h)).mean((2, 3))


def fire(m, x):
    x = torch.relu(m.squeeze(x))
    return torch.cat([torch.relu(m.one(x)), torch.relu(m.three(x))], 1).mean((2, 3))


def inception(m, x):
    branches = [m.one(x), m.three(m.before3(x)), m.five(m.before5(x)), m.pool(F.max_pool2d(x, 3, 1, 1))]
    return F.gelu(torch.cat(branches, 1)).mean((2, 3))


def convnext(m, x):
    h = m.depth(x).permute(0, 2, 3, 1)
    h = m.gamma * m.down(F.gelu(m.up(m.norm(h))))
    return m.out((x + h.permute(0, 3, 1, 2)).mean((2, 3)))


def capsules(m, x):
    """Routing by agreement for a given number of steps (Sabour, Frosst, Hinton 2017)."""
    votes = torch.einsum("nid,iodk->niok", x, m.w)  # [n, in, out, k]
    b = torch.zeros_like(votes[..., 0])
    for _ in range(2):
        s = (b.softmax(2)[..., None] * votes).sum(1)
        size = s.square().sum(-1, keepdim=True)
        v = s * (size / (1 + size)) / (size + 1e-6).sqrt()
        b = b + (votes * v[:, None]).sum(-1)
    return v.norm(dim=-1)


def spatial_transformer(m, x):
    theta = m.locate(x.flatten(1)).view(-1, 2, 3) * 0.1 + torch.eye(2, 3).to(x)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return m.conv(F.grid_sample(x, grid, align_corners=False)).tanh().mean((2, 3))


def coordinates(m, x):
    n, _, h, w = x.shape
    rows = torch.linspace(-1, 1, h, dtype=x.dtype).view(1, 1, h, 1).expand(n, 1, h, w)
    columns = torch.linspace(-1, 1, w, dtype=x.dtype).view(1, 1, 1, w).expand(n, 1, h, w)
    return m.conv(torch.cat([x, rows, columns], 1)).tanh().amax((2, 3))


def vggish():
    features = [nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2)]
    features += [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2), nn.Flatten()]
    classifier = [nn.Linear(16, 6), nn.ReLU(True), nn.Dropout(0.5), nn.Linear(6, 3)]
    return nn.Sequential(*features, *classifier).eval()


def image_and_numbers(m, image, numbers):
    return m.out(torch.cat([torch.relu(m.conv(image)).mean((2, 3)), torch.tanh(m.a(numbers))], 1))


def siamese(m, one, two):
    return F.cosine_similarity(m.features(one), m.features(two))


def octave(m, x):
    """Two resolutions that exchange features."""
    high, low = m.hh(x), m.hl(F.avg_pool2d(x, 2))
    high = torch.relu(high + F.interpolate(m.lh(low), scale_factor=2.0))
    return m.out(torch.cat([high.mean((2, 3)), torch.relu(low).mean((2, 3))], 1))


def image_mixer_of_experts(m, x):
    heads = torch.stack([c(x).relu().mean((2, 3)) for c in m.convs], 1)
    return (m.gate(x.mean((2, 3))).softmax(1)[..., None] * heads).sum(1)


def conv(*sizes, **options):
    return lambda: nn.Conv2d(*sizes, **options)


def inverted():
    return Net(
        inverted_residual,
        expand=nn.Conv2d(2, 4, 1, bias=False),
        bn1=nn.BatchNorm2d(4),
        depth=nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        bn2=nn.BatchNorm2d(4),
        project=nn.Conv2d(4, 2, 1, bias=False),
        bn3=nn.BatchNorm2d(2),
    ).eval()


def densenet_parts():
    norms = nn.ModuleList([nn.GroupNorm(1, c) for c in (2, 4)])
    convs = nn.ModuleList([nn.Conv2d(c, 2, 3, padding=1, bias=False) for c in (2, 4)])
    return Net(densenet, norms=norms, convs=convs, out=nn.Linear(6, 2))


IMAGE = floats(2, 4, 4)

CASES = [
    Case("ResNet", resnet, floats(2, 6, 6)),
    Case("VGG", vggish, floats(1, 8, 8)),
    Case("WideResNet of ntkgap", lambda: ng.WideResNet(2, 3, 2, 1), floats(2, 8, 8)),
    Case(
        "WideResNet of ntkgap, group norm",
        lambda: ng.WideResNet(2, 3, 2, 1, normalization="group"),
        floats(2, 8, 8),
    ),
    Case("ConvNet of ntkgap", lambda: ng.ConvNet(2, 3, 4, 2, padding_mode="circular"), floats(2, 4, 4)),
    Case(
        "residual block, norm first",
        net(
            lambda m, x: pre_activation(m, x).mean((2, 3)),
            norm1=lambda: nn.GroupNorm(1, 2),
            norm2=lambda: nn.GroupNorm(2, 4),
            skip=conv(2, 4, 1, stride=2, bias=False),
            conv1=conv(2, 4, 3, stride=2, padding=1, bias=False),
            conv2=conv(4, 4, 3, padding=1, bias=False),
        ),
        IMAGE,
    ),
    Case(
        "residual block with numbers for biases",
        net(
            fixup,
            conv1=conv(2, 3, 3, padding=1, bias=False),
            conv2=conv(3, 2, 3, padding=1, bias=False),
            b1=(1,),
            b2=(1,),
            b3=(1,),
            b4=(1,),
            scale=(1,),
        ),
        IMAGE,
    ),
    Case("DenseNet", densenet_parts, IMAGE),
    Case("inverted residual", inverted, IMAGE),
    Case("channel shuffle", net(shuffle, group1=conv(2, 4, 2, groups=2), group2=conv(4, 4, 2, groups=2)), IMAGE),
    Case(
        "fire module", net(fire, squeeze=conv(2, 2, 1), one=conv(2, 2, 1), three=conv(2, 3, 3, padding=1)), IMAGE
    ),
    Case(
        "inception",
        net(
            inception,
            one=conv(2, 2, 1),
            before3=conv(2, 2, 1),
            three=conv(2, 2, 3, padding=1),
            before5=conv(2, 1, 1),
            five=conv(1, 2, 5, padding=2),
            pool=conv(2, 1, 1),
        ),
        IMAGE,
    ),
    Case(
        "ConvNeXt block",
        net(
            convnext,
            depth=conv(3, 3, 3, padding=1, groups=3),
            norm=lambda: nn.LayerNorm(3),
            up=linear(3, 6),
            down=linear(6, 3),
            gamma=(3,),
            out=linear(3, 2),
        ),
        floats(3, 4, 4),
    ),
    Case("capsules", net(capsules, w=(4, 3, 3, 2)), floats(4, 3)),
    Case(
        "spatial transformer", net(spatial_transformer, locate=linear(16, 6), conv=conv(1, 2, 2)), floats(1, 4, 4)
    ),
    Case("coordinates as channels", net(coordinates, conv=conv(4, 3, 2)), IMAGE),
    Case(
        "image and numbers",
        net(image_and_numbers, conv=conv(2, 3, 2), a=linear(3, 3), out=linear(6, 2)),
        several(IMAGE, floats(3)),
    ),
    Case(
        "likeness of two images",
        net(siamese, features=stack(conv(2, 3, 2), nn.Tanh, nn.Flatten, linear(27, 4))),
        several(one=IMAGE, two=IMAGE),
    ),
    Case(
        "two resolutions",
        net(octave, hh=conv(2, 2, 3, padding=1), hl=conv(2, 2, 1), lh=conv(2, 2, 1), out=linear(4, 2)),
        IMAGE,
    ),
    Case(
        "experts of images",
        net(
            image_mixer_of_experts,
            convs=lambda: nn.ModuleList([nn.Conv2d(2, 3, 2) for _ in range(2)]),
            gate=linear(2, 2),
        ),
        IMAGE,
    ),
]
