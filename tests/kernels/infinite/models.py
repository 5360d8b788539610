"""Models without an oracle, each of a kind of layer: the limit of each is compared with finite networks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.models import ConvNet, NTKConv2d, NTKLinear, Transformer, WideResNet


class Residual(nn.Module):
    """x + branch(x), with the shortcut of a user's own code."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.5 * self.branch(x)


class Concatenated(nn.Module):
    """Two branches side by side, one twice as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = NTKLinear(12, width), NTKLinear(12, 2 * width, 1.5, 0.1)
        self.mix, self.out = NTKLinear(3 * width, width, 1.4), NTKLinear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(x.shape[0], -1)
        h = torch.cat([torch.relu(self.a(x)), torch.erf(self.b(x))], dim=1)
        return self.out(F.leaky_relu(self.mix(h), 0.2))


class Gated(nn.Module):
    """A product of two branches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value, self.gate, self.out = nn.Linear(12, width), nn.Linear(12, width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.out(self.value(x) * torch.sigmoid(self.gate(x)))


class Tokens(nn.Module):
    """Pixels as tokens: channels last, LayerNorm with trained scales, GELU, mean over tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(3, width), nn.LayerNorm(width)
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.flatten(2).transpose(1, 2))
        x = x + self.hidden(F.gelu(self.norm(x)))
        return self.out(x.mean(1))


class SquareRootOfSquare(nn.Module):
    """An activation that only the user has."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(1 + x * x) - 1


def _dense(width: int, *after: Callable[[], nn.Module], **scales: float) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    fan_in = 12
    for _ in range(2):
        layers += [NTKLinear(fan_in, width, **scales), *(make() for make in after)]
        fan_in = width
    return nn.Sequential(*layers, NTKLinear(width, 4, **scales))


def _images(width: int, *layers: nn.Module, positions: int = 1) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), NTKLinear(width * positions, 4, 1.2, 0.1))


# By name: width -> network of images [n, 3, 2, 2], 4 outputs.
SMALL: dict[str, Callable[[int], nn.Module]] = {
    "torch's own initialization": lambda m: nn.Sequential(
        nn.Flatten(), nn.Linear(12, m), nn.ReLU(), nn.Linear(m, m), nn.Tanh(), nn.Linear(m, 4)
    ),
    "standard": lambda m: ng.MLP(12, 4, m, 2, parametrization="standard", weight_std=1.4, bias_std=0.3),
    "mean field": lambda m: ng.MLP(12, 4, m, 2, parametrization="mean_field", weight_std=1.4),
    "mup": lambda m: ng.MLP(12, 4, m, 2, parametrization="mup", weight_std=1.4, bias_std=0.3),
    "gamma0": lambda m: ng.MLP(12, 4, m, 2, gamma0=0.5, weight_std=1.4),
    "antisymmetric alpha": lambda m: ng.MLP(12, 4, m, 2, antisymmetric=True, alpha=3.0, weight_std=1.4),
    "frozen readout": lambda m: _frozen_readout(m),
    "shallow theorem": lambda m: ng.models.ShallowNet(12, m),
    "user's activation": lambda m: _dense(m, SquareRootOfSquare, weight_std=1.5),
    "layer norm, silu in place": lambda m: _dense(
        m, lambda: nn.LayerNorm(m), lambda: nn.SiLU(inplace=True), weight_std=1.5
    ),
    "layer norm, trained": lambda m: _dense(m, lambda: nn.LayerNorm(m), nn.Tanh, weight_std=1.5),
    "rms norm behind relu": lambda m: _dense(m, nn.ReLU, lambda: nn.RMSNorm(m), weight_std=1.5),
    "residual": lambda m: nn.Sequential(
        nn.Flatten(), NTKLinear(12, m), Residual(nn.SiLU(), NTKLinear(m, m, 1.4)), nn.ReLU(), NTKLinear(m, 4)
    ),
    "concatenated": Concatenated,
    "gated": Gated,
    "tokens": Tokens,
    "attention": lambda m: nn.Sequential(
        _ToTokens(), Transformer(3, 4, m, 1, scaling="linear", heads=2, weight_std=1.3)
    ),
}

# Of images [n, 3, 4, 4].
IMAGES: dict[str, Callable[[int], nn.Module]] = {
    "group norm, stride, circular": lambda m: _images(
        m,
        nn.Conv2d(3, m, 3, padding=1),
        nn.GroupNorm(4, m),
        nn.GELU(),
        nn.Conv2d(m, m, 3, stride=2, padding=1, padding_mode="circular"),
        nn.ReLU(),
        positions=4,
    ),
    "layer norm behind flatten": lambda m: nn.Sequential(
        NTKConv2d(3, m, 3, padding=1), nn.Flatten(), nn.LayerNorm(16 * m), nn.ReLU(), NTKLinear(16 * m, 4)
    ),
    "layer norm of images": lambda m: _images(
        m, NTKConv2d(3, m, 3, padding=1), nn.LayerNorm([m, 4, 4]), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    ),
    "batch norm, eval": lambda m: _images(
        m, nn.Conv2d(3, m, 3), nn.BatchNorm2d(m), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    ).eval(),
    "reflecting, dilated, overlapping pools": lambda m: _images(
        m,
        nn.Conv2d(3, m, 3, padding=2, dilation=2, padding_mode="reflect"),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
        positions=4,
    ),
    "one-dimensional": lambda m: nn.Sequential(
        nn.Flatten(2),
        nn.Conv1d(3, m, 5, stride=2),
        nn.ReLU(),
        nn.AvgPool1d(2, 1),
        nn.Flatten(),
        nn.Linear(5 * m, 4),
    ),
    "ConvNet": lambda m: ConvNet(3, 4, m, 2, image_size=4, weight_std=1.4, bias_std=0.1),
}

# Of images [n, 3, 8, 8]; these grow to four times the width.
RESIDUAL: dict[str, Callable[[int], nn.Module]] = {
    "WideResNet": lambda m: WideResNet(3, 4, m, 1, weight_std=1.2),
    "WideResNet, group norm": lambda m: WideResNet(3, 4, m, 1, normalization="group", weight_std=1.2),
}


class _ToTokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


def _frozen_readout(width: int) -> nn.Module:
    model = _dense(width, nn.ReLU, weight_std=1.4, bias_std=0.2)
    model[-1].requires_grad_(False)
    return model
