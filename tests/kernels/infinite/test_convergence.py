"""Empirical kernels of growing width tend to the limit at the rate of a mean over the width: width^(−1/2)."""

import statistics

import pytest
import torch

import ntkgap as ng
from ntkgap.models import ConvNet, WideResNet
from ntkgap.studies.statistics import fit_power_law

CASES = {
    "MLP": (lambda width: ng.MLP(10, 8, width, 2, weight_std=2**0.5), (6, 10), (32, 64, 128, 256, 512)),
    "ConvNet": (lambda width: ConvNet(3, 8, width, 2, weight_std=2**0.5), (4, 3, 5, 5), (16, 32, 64, 128, 256)),
    "WideResNet": (lambda width: WideResNet(3, 8, width, 1), (3, 3, 6, 6), (4, 16, 64)),
}


def distances(name: str, seeds: int) -> dict[int, dict[int, float]]:
    """Relative distance of a draw's kernel to the limit, by seed and width."""
    make, shape, widths = CASES[name]
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    limit = ng.infinite_width(make(widths[0]).double()).ntk(x)
    found: dict[int, dict[int, float]] = {}
    for seed in range(seeds):
        for width in widths:
            torch.manual_seed(1009 * width + seed)
            kernel = ng.empirical_ntk(make(width), x.float(), outputs="mean")  # rounding is far below distances
            found.setdefault(seed, {})[width] = ng.kernels.relative_change(kernel, limit)
    return found


@pytest.mark.parametrize("name", ["MLP", "ConvNet"])
def test_distance_of_single_draws_falls_like_one_over_the_root_of_the_width(name):
    fit = fit_power_law(distances(name, seeds=24), min_widths=5)
    assert fit.exponent.low <= -0.5 <= fit.exponent.high
    assert fit.exponent.high - fit.exponent.low < 0.35  # else anything would pass
    assert fit.curvature.low <= 0  # as it would if the limit were a little off


def test_distance_of_a_residual_network_falls():
    found = distances("WideResNet", seeds=12)
    narrow, middle, wide = (
        statistics.fmean(by[w] ** 2 for by in found.values()) ** 0.5 for w in CASES["WideResNet"][2]
    )
    assert narrow > middle > wide
    assert narrow > 2 * wide  # a factor of 4 is expected
