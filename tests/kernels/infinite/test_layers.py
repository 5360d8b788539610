"""Limits without an oracle: finite networks converge to them at the predicted rate."""

import pytest
import torch

import ntkgap as ng
from tests.kernels.infinite.models import IMAGES, RESIDUAL, SMALL

DRAWS = 24
CASES = {
    **{name: (build, 2, 32) for name, build in SMALL.items()},
    **{name: (build, 4, 32) for name, build in IMAGES.items()},
    **{name: (build, 8, 16) for name, build in RESIDUAL.items()},
}


def compare(build, width, x):
    """Limit, mean kernels of finite networks, and both errors of the tangent kernel relative to its size."""
    limit = ng.infinite_width(build(width).double()).kernels(x)
    found = ng.monte_carlo_kernel(lambda: build(width).double(), x, draws=DRAWS, seed=1)
    scale = limit.ntk.norm()
    return limit, found, (found.ntk - limit.ntk).norm() / scale, found.ntk_error.norm() / scale


@pytest.mark.parametrize("name", CASES)
def test_finite_networks_converge_to_the_limit(name):
    build, side, width = CASES[name]
    x = torch.randn(4, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    _, _, narrow, narrow_noise = compare(build, width, x)
    limit, found, wide, wide_noise = compare(build, 4 * width, x)
    # The bias at width m is of order 1/m, so at four times the width a quarter of what it was; the rest is noise.
    assert wide < narrow / 4 + 4 * wide_noise
    assert wide < 0.1
    # 1/√m would be a half. A standard deviation from 24 draws is good to 1/√(2·23) = 15 %, the ratio of two to
    # 21 %: 0.85 is more than three of these above a half.
    assert wide_noise < 0.85 * narrow_noise
    assert (found.nngp - limit.nngp).norm() <= 4 * found.nngp_error.norm()
