"""Networks of different kinds, as users have them; each takes the names that it asks for."""

from types import SimpleNamespace

import torch
from torch import nn


def conv1d(width, in_channels, n_outputs):
    """For sequences [n, C, L]."""
    return nn.Sequential(
        nn.Conv1d(in_channels, width, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(width, n_outputs),
    )  # fmt: skip


class LastState(nn.Module):
    """An LSTM, read out at its last step."""

    def __init__(self, features, width, outputs):
        super().__init__()
        self.lstm, self.readout = nn.LSTM(features, width, batch_first=True), nn.Linear(width, outputs)

    def forward(self, x):
        return self.readout(self.lstm(x)[0][:, -1])


def lstm(width, in_shape, n_outputs):
    """For sequences [n, T, d]."""
    return LastState(in_shape[-1], width, n_outputs)


class Attends(nn.Module):
    """One layer of attention over tokens, their mean, a readout."""

    def __init__(self, features, width, outputs):
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.readout = nn.Linear(width, outputs)

    def forward(self, tokens):
        h = self.embed(tokens)
        return self.readout((h + self.attention(h, h, h, need_weights=False)[0]).mean(dim=1))


def attention(width, in_shape, n_outputs):
    """For tokens [n, T, d]."""
    return Attends(in_shape[-1], width, n_outputs)


class Residual(nn.Module):
    """x + f(x), with batch normalization."""

    def __init__(self, width):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x):
        return x + self.f(x)


def residual(width, in_channels, n_outputs):
    """For images; with batch statistics."""
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1), Residual(width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, n_outputs),
    )  # fmt: skip


def depthwise(width, in_channels, n_outputs):
    """For images; grouped convolutions and group normalization."""
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1, groups=width),
        nn.GroupNorm(2, width), nn.Conv2d(width, width, 1), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.1), nn.Linear(width, n_outputs),
    )  # fmt: skip


class Wrapped(nn.Module):
    """Takes the logits out of what a library's model returns."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(inputs=x).logits


class LibraryModel(nn.Module):
    """Returns an object with logits, as models of a well-known library do."""

    def __init__(self, features, width, labels):
        super().__init__()
        self.body, self.head = nn.Linear(features, width), nn.Linear(width, labels)

    def forward(self, inputs=None):
        return SimpleNamespace(logits=self.head(torch.tanh(self.body(inputs.flatten(1)))))


def logits(width, in_features, n_outputs):
    """A library's model, wrapped."""
    return Wrapped(LibraryModel(in_features, width, n_outputs))


class Tied(nn.Module):
    """The same weights used twice, the second time transposed."""

    def __init__(self, features, width, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, features) / features**0.5)
        self.readout = nn.Linear(features, outputs)

    def forward(self, x):
        return self.readout(torch.tanh(torch.tanh(x.flatten(1) @ self.weight.T) @ self.weight))


def tied(width, in_features, n_outputs):
    """Tied weights."""
    return Tied(in_features, width, n_outputs)


def frozen(width, in_features, n_outputs):
    """A frozen backbone with a trained head."""
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.ReLU()).requires_grad_(False)
    return nn.Sequential(backbone, nn.Linear(width, n_outputs))


def two_outputs(width, in_features, n_outputs, generator):
    """For regression; draws from the generator that it asks for."""
    first, last = nn.Linear(in_features, width), nn.Linear(width, n_outputs)
    with torch.no_grad():
        for p in (first.weight, last.weight):
            p.copy_(torch.randn(p.shape, generator=generator) / p.shape[1] ** 0.5)
    return nn.Sequential(nn.Flatten(), first, nn.Tanh(), last)


def no_width(in_features, n_outputs):
    """One network as it is."""
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, 12), nn.ReLU(), nn.Linear(12, n_outputs))


def fails_at_six(width, in_features, n_outputs):
    """Cannot be built at one width."""
    if width == 6:
        raise ValueError("6 is not divisible by 4")
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, n_outputs))


class Breaks(nn.Module):
    """Returns NaN."""

    def __init__(self, features, width, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(features, width), nn.Linear(width, outputs))

    def forward(self, x):
        return self.layers(x) / 0.0 * 0.0


def returns_nan(width, in_features, n_outputs):
    """Never returns a number."""
    return Breaks(in_features, width, n_outputs)


# What each is tried on: the shape of an example.
KINDS = {
    conv1d: (2, 6),
    lstm: (4, 3),
    attention: (4, 3),
    residual: (1, 6, 6),
    depthwise: (1, 6, 6),
    logits: (7,),
    tied: (7,),
    frozen: (7,),
    two_outputs: (5,),
    no_width: (7,),
    fails_at_six: (7,),
    returns_nan: (7,),
}
