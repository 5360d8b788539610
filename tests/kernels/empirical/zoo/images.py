"""From images (or noise, codes, points) to images: outputs of any shape."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, floats, linear, net, several, stack


def unet(m, x):
    one = torch.relu(m.down1(x))
    two = torch.relu(m.down2(F.max_pool2d(one, 2)))
    up = m.up(two)
    return m.out(torch.relu(m.join(torch.cat([up, one], 1))))


def timed_unet(m, x, t):
    """The network of a diffusion model: the time goes in as a learned shift of channels."""
    angles = t[:, None] * torch.tensor([1.0, 0.1], dtype=x.dtype)
    time = m.time(torch.cat([angles.sin(), angles.cos()], 1))
    h = F.silu(m.norm(m.a(x)) + time[..., None, None])
    return x + m.b(h)


def variational(m, x):
    """The decoder at the mean of the code, and the divergence as one more output."""
    mean, spread = m.encode(x).chunk(2, -1)
    divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(-1, keepdim=True)
    return torch.cat([torch.sigmoid(m.decode(mean)), divergence], -1)


def quantized(m, x):
    """The nearest entry of a code book, its gradient passed straight through."""
    z = m.encode(x)
    nearest = torch.cdist(z, m.book).argmin(-1)
    q = m.book[nearest]
    return m.decode(z + (q - z).detach()) + (q - z.detach()).square().sum(-1, keepdim=True)


def segmentation(m, x):
    h = torch.relu(m.features(x))
    small = m.score(F.max_pool2d(h, 2))
    return F.interpolate(small, scale_factor=2.0, mode="bilinear", align_corners=False) + m.skip(h)


def neural_field(m, points):
    for layer in (m.a, m.b):
        points = torch.sin(3 * layer(points))
    return m.out(points)


def radiance(m, position, direction):
    h = torch.relu(m.a(torch.cat([position, position.sin(), position.cos()], -1)))
    density = F.softplus(m.density(h))
    return torch.cat([torch.sigmoid(m.color(torch.cat([h, direction], -1))), density], -1)


def rendered(m, points):
    """Densities along a ray, integrated: one color a ray."""
    out = m.b(torch.tanh(m.a(points)))
    density, color = F.softplus(out[..., 0]), out[..., 1:].sigmoid()
    through = torch.exp(-torch.cumsum(density, 1) + density)
    return ((through * (1 - torch.exp(-density)))[..., None] * color).sum(1)


def anchors(m, x):
    h = torch.relu(m.a(x))
    boxes = m.boxes(h).permute(0, 2, 3, 1).reshape(len(x), -1, 4)
    scores = m.scores(h).permute(0, 2, 3, 1).reshape(len(x), -1, 1)
    return torch.cat([boxes, scores], -1)


def pyramid(m, x):
    low = torch.relu(m.a(x))
    high = torch.relu(m.b(F.avg_pool2d(low, 2)))
    merged = m.side(low) + F.interpolate(high, scale_factor=2.0)
    return torch.cat([m.head(merged).flatten(1), m.head(high).flatten(1)], 1)


def super_resolution(m, x):
    return F.pixel_shuffle(m.b(torch.relu(m.a(x))), 2)


def inverse_shuffle(m, x):
    return m.a(F.pixel_unshuffle(x, 2)).tanh().mean((2, 3))


def style(m, noise, code):
    """A convolution whose weight is modulated and normalized for every example (Karras et al. 2020)."""
    w = m.w[None] * (1 + m.style(code))[:, None, :, None, None]
    w = w / (w.square().sum((2, 3, 4), keepdim=True) + 1e-6).sqrt()
    patches = F.unfold(noise, 3, padding=1)
    return torch.einsum("nok,nks->nos", w.flatten(2), patches).tanh()


def depth_to_space_video(m, clip):
    return m.b(torch.relu(m.a(clip))).squeeze(1)


def conv(*sizes, **options):
    return lambda: nn.Conv2d(*sizes, **options)


IMAGE = floats(1, 4, 4)

CASES = [
    Case("image to image", stack(conv(1, 3, 3, padding=1), nn.ReLU, conv(3, 1, 3, padding=1)), IMAGE),
    Case(
        "image to image without biases",
        stack(conv(1, 3, 3, padding=1, bias=False), nn.ReLU, conv(3, 2, 1, bias=False)),
        IMAGE,
    ),
    Case(
        "U-Net",
        net(
            unet,
            down1=conv(1, 2, 3, padding=1),
            down2=conv(2, 3, 3, padding=1),
            up=lambda: nn.ConvTranspose2d(3, 2, 2, 2),
            join=conv(4, 2, 3, padding=1),
            out=conv(2, 1, 1),
        ),
        IMAGE,
    ),
    Case(
        "U-Net with time",
        net(
            timed_unet,
            a=conv(1, 2, 3, padding=1),
            norm=lambda: nn.GroupNorm(1, 2),
            time=linear(4, 2),
            b=conv(2, 1, 3, padding=1),
        ),
        several(IMAGE, lambda n, g: torch.rand(n, generator=g)),
    ),
    Case(
        "convolutional autoencoder",
        stack(conv(1, 3, 3, stride=2, padding=1), nn.ReLU, lambda: nn.ConvTranspose2d(3, 1, 2, 2), nn.Sigmoid),
        IMAGE,
    ),
    Case("dense autoencoder", stack(linear(6, 2), nn.Tanh, linear(2, 6)), floats(6)),
    Case("variational autoencoder", net(variational, encode=linear(6, 4), decode=linear(2, 6)), floats(6)),
    Case(
        "quantized autoencoder", net(quantized, encode=linear(6, 3), book=(4, 3), decode=linear(3, 6)), floats(6)
    ),
    Case(
        "pixel shuffle",
        net(super_resolution, a=conv(1, 3, 3, padding=1), b=conv(3, 4, 3, padding=1)),
        floats(1, 2, 2),
    ),
    Case("pixel unshuffle", net(inverse_shuffle, a=conv(4, 3, 2)), IMAGE),
    Case(
        "upsampling and convolution",
        stack(conv(1, 2, 1), lambda: nn.Upsample(scale_factor=2), conv(2, 1, 3, padding=1)),
        floats(1, 2, 2),
    ),
    Case(
        "bicubic upsampling",
        stack(lambda: nn.Upsample(scale_factor=2, mode="bicubic"), conv(1, 2, 3)),
        floats(1, 2, 2),
    ),
    Case(
        "segmentation",
        net(segmentation, features=conv(1, 3, 3, padding=1), score=conv(3, 2, 1), skip=conv(3, 2, 1)),
        IMAGE,
    ),
    Case(
        "generator of images",
        stack(
            linear(3, 8),
            nn.ReLU,
            lambda: nn.Unflatten(1, (2, 2, 2)),
            lambda: nn.ConvTranspose2d(2, 1, 2, 2),
            nn.Tanh,
        ),
        floats(3),
    ),
    Case("SIREN on points", net(neural_field, a=linear(2, 6), b=linear(6, 6), out=linear(6, 3)), floats(2)),
    Case(
        "SIREN on a grid of points",
        net(neural_field, a=linear(2, 6), b=linear(6, 6), out=linear(6, 1)),
        floats(3, 3, 2),
    ),
    Case(
        "radiance field",
        net(radiance, a=linear(9, 6), density=linear(6, 1), color=linear(9, 3)),
        several(floats(3), floats(3)),
    ),
    Case("rendered rays", net(rendered, a=linear(3, 6), b=linear(6, 4)), floats(4, 3)),
    Case("anchors", net(anchors, a=conv(1, 2, 2), boxes=conv(2, 8, 2), scores=conv(2, 2, 2)), floats(1, 3, 3)),
    Case(
        "pyramid with one head",
        net(
            pyramid, a=conv(1, 2, 3, padding=1), b=conv(2, 2, 3, padding=1), side=conv(2, 2, 1), head=conv(2, 1, 1)
        ),
        IMAGE,
    ),
    Case(
        "modulated convolution",
        net(style, w=(2, 1, 3, 3), style=linear(3, 1)),
        several(floats(1, 3, 3), floats(3)),
    ),
    Case(
        "video to image",
        net(
            depth_to_space_video,
            a=lambda: nn.Conv3d(1, 2, (2, 3, 3), padding=(0, 1, 1)),
            b=lambda: nn.Conv3d(2, 1, (2, 1, 1)),
        ),
        floats(1, 3, 3, 3),
    ),
]
