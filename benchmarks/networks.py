"""The networks that the benchmarks run over."""

import torch
from torch import nn


def cnn(classes: int = 10) -> nn.Module:
    """Three convolutions with pooling on 3×32×32 images, and a dense readout."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(128, 256, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, classes),
    )


class Block(nn.Module):
    """Pre-activation residual block with GroupNorm."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, cin), nn.GroupNorm(8, cout)
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.skip = nn.Conv2d(cin, cout, 1, stride, bias=False) if cin != cout or stride != 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, cin, h, w] to [n, cout, h / stride, w / stride]."""
        h = torch.relu(self.norm1(x))
        skip = x if self.skip is None else self.skip(h)
        return skip + self.conv2(torch.relu(self.norm2(self.conv1(h))))


def wide_resnet(depth: int = 16, widen: int = 2, classes: int = 10) -> nn.Module:
    """WideResNet (Zagoruyko, Komodakis 2016) with GroupNorm in place of BatchNorm."""
    widths, blocks = [16 * widen, 32 * widen, 64 * widen], (depth - 4) // 6
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
    cin = 16
    for k, width in enumerate(widths):
        for b in range(blocks):
            layers.append(Block(cin, width, 2 if k > 0 and b == 0 else 1))
            cin = width
    return nn.Sequential(
        *layers,
        nn.GroupNorm(8, cin),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(cin, classes),
    )


class Transformer(nn.Module):
    """Pre-norm encoder over tokens, mean-pooled."""

    def __init__(
        self, tokens: int = 64, features: int = 48, d: int = 128, layers: int = 4, classes: int = 10
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(features, d)
        self.place = nn.Parameter(0.02 * torch.randn(1, tokens, d))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(d, 4, 4 * d, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, tokens, features] to [n, classes]."""
        x = self.embed(x) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))
