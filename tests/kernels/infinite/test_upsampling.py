"""Interpolation and transposed convolutions: against torch's own maps of positions, and against networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.models import NTKConv2d, NTKLinear
from tests.kernels.infinite.finite_networks import assert_converges
from tests.kernels.infinite.reference import Points
from tests.tolerances import EXACT

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(3, 2, 3, 4, dtype=torch.float64, generator=GENERATOR)
SOUND = torch.randn(3, 2, 5, dtype=torch.float64, generator=GENERATOR)


def map_of(function, *sizes: int) -> torch.Tensor:
    """The matrix [out, in] of a linear map of positions, found by trying it on every one."""
    places = torch.eye(torch.Size(sizes).numel(), dtype=torch.float64).view(-1, 1, *sizes)
    return function(places).flatten(1).T


INTERPOLATIONS = {
    "nearest": nn.Upsample(scale_factor=2),
    "nearest, odd": nn.Upsample(size=(5, 7), mode="nearest"),
    "nearest-exact": nn.Upsample(size=(5, 7), mode="nearest-exact"),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear, corners": nn.UpsamplingBilinear2d(size=(5, 6)),
    "bicubic": nn.Upsample(scale_factor=(2, 1.5), mode="bicubic"),
    "area": lambda x: F.interpolate(x, (2, 3), mode="area"),
    "smaller": lambda x: F.interpolate(input=x, scale_factor=0.5, mode="bilinear", antialias=True),
}


def model_of(layer, readout: nn.Module) -> nn.Module:
    class Interpolated(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.readout = NTKConv2d(2, 4, 1, weight_std=1.3, bias_std=0.2), readout
            self.layer = layer if isinstance(layer, nn.Module) else None

        def forward(self, x):
            h = torch.relu(self.first(x))
            return self.readout(layer(h) if self.layer is None else self.layer(h))

    return Interpolated().double()


@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_interpolation_is_the_map_that_torch_applies(name):
    layer = INTERPOLATIONS[name]
    hidden = Points.of(IMAGES.flatten(2).mT).layer(1.3**2, 0.2**2).relu()
    matrix = map_of(layer, 3, 4)
    # Both with all pairs of positions and with equal ones alone.
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), NTKLinear(4, 1))
    found = ng.infinite_width(model_of(layer, pooled)).kernels(IMAGES)
    expected = hidden.mapped(matrix).mean().layer(1.0)
    torch.testing.assert_close(found.nngp, expected.nngp, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(found.ntk, expected.ntk, rtol=EXACT, atol=EXACT)
    flattened = nn.Sequential(nn.Flatten(), NTKLinear(4 * len(matrix), 1))
    found = ng.infinite_width(model_of(layer, flattened)).kernels(IMAGES)
    mapped = hidden.mapped(matrix).layer(1.0)
    for kernel, every in ((found.nngp, mapped.nngp), (found.ntk, mapped.ntk)):
        equal = every.view(3, len(matrix), 3, len(matrix)).diagonal(0, 1, 3).mean(-1)
        torch.testing.assert_close(kernel, equal, rtol=EXACT, atol=EXACT)


TRANSPOSED = {
    "plain": {"kernel_size": 3},
    "stride and padding": {"kernel_size": 3, "stride": 2, "padding": 1},
    "output padding": {"kernel_size": (3, 4), "stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2)},
    "kernel smaller than stride": {"kernel_size": 2, "stride": 3},
    "dilation": {"kernel_size": 2, "stride": 2, "dilation": (3, 2), "padding": 1},
    "more padding than kernel": {"kernel_size": 2, "stride": 3, "padding": 2},
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions_are_sums_over_their_taps(name):
    """One matrix of positions a tap, found by a transposed convolution with that weight alone."""
    options = TRANSPOSED[name]
    layer = nn.ConvTranspose2d(3, 200, bias=False, **options)
    given = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    kernel = layer.weight.shape[2:]
    taps = []
    for place in torch.eye(kernel.numel(), dtype=torch.float64):
        tap = place.view(1, 1, *kernel)
        taps.append(
            map_of(
                lambda x, tap=tap: F.conv_transpose2d(x, tap, output_padding=layer.output_padding, **given), 3, 4
            )
        )
    first = NTKConv2d(2, 3, 1)
    model = nn.Sequential(
        first, layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), NTKLinear(200, 1)
    ).double()
    found = ng.infinite_width(model).kernels(IMAGES)
    hidden = Points.of(IMAGES.flatten(2).mT).layer(1.0)
    # torch's default takes fan-in for the output channels: variance 1/(3·200·taps) with 3 inputs a tap.
    size = kernel.numel()
    mapped = [hidden.mapped(tap).layer(3 / (3 * 200 * size), weights=3) for tap in taps]
    together = Points(sum(p.nngp for p in mapped), sum(p.ntk for p in mapped), 3)
    expected = together.relu().mean().layer(1.0)
    torch.testing.assert_close(found.nngp, expected.nngp, rtol=1e-9, atol=EXACT)
    torch.testing.assert_close(found.ntk, expected.ntk, rtol=1e-9, atol=EXACT)


def decoder(width: int) -> nn.Module:
    """An autoencoder's way up."""
    return nn.Sequential(
        nn.Conv2d(2, width, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(width, width, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width * 10 * 14, 4),
    )


def test_finite_networks_converge_to_the_limit():
    assert_converges(decoder, IMAGES, 8, largest=0.25)


def test_transposed_convolution_of_sound_to_a_given_size():
    class Sound(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.out = NTKLinear(2, width), nn.Linear(width, 4, bias=False)
            self.up = nn.ConvTranspose1d(width, width, 4, stride=2, bias=False)
            nn.init.kaiming_normal_(self.up.weight)

        def forward(self, x):
            h = self.up(torch.tanh(self.first(x.mT)).mT, output_size=[13])
            return self.out(torch.relu(h).mean(-1))

    assert_converges(Sound, SOUND, 32)


def test_what_is_not_followed_is_refused():
    with pytest.raises(ModelError, match=r"'0' \(ConvTranspose2d\) has groups=2"):
        ng.infinite_width(nn.Sequential(nn.ConvTranspose2d(2, 4, 3, groups=2), nn.Flatten())).ntk(IMAGES)
    with pytest.raises(ModelError, match=r"'1' \(Upsample\) takes \[n, channels, w\], but .* on axis 2"):
        ng.infinite_width(nn.Sequential(nn.Linear(5, 4), nn.Upsample(scale_factor=2))).ntk(SOUND)
