"""Limits without an oracle: finite networks converge to them at the predicted rate."""

import pytest
import torch

import ntkgap as ng
from tests.kernels.infinite.models import IMAGES, SMALL

# Mean relative kernel errors of finite networks fall like 1/√(width·draws); a recursion with a wrong term keeps an
# error that does not fall. At the smaller width and 24 draws most kernels are within 5 %.
NARROW, WIDE, DRAWS = 32, 128, 24
CASES = {**{name: (build, 2) for name, build in SMALL.items()}, **{name: (build, 4) for name, build in IMAGES.items()}}


def errors(build, width, x):
    """Relative error of the mean tangent kernel of finite networks, its standard error, and that of the NNGP's z."""
    limit = ng.infinite_width(build(width).double()).kernels(x)
    found = ng.monte_carlo_kernel(lambda: build(width).double(), x, draws=DRAWS, seed=1)
    scale = limit.ntk.norm()
    z = (found.nngp - limit.nngp) / found.nngp_error.clamp_min(1e-12)
    return (found.ntk - limit.ntk).norm() / scale, found.ntk_error.norm() / scale, z.square().mean().sqrt()


@pytest.mark.parametrize("name", CASES)
def test_finite_networks_converge_to_the_limit(name):
    build, side = CASES[name]
    x = torch.randn(4, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    narrow, narrow_error, _ = errors(build, NARROW, x)
    wide, wide_error, z = errors(build, WIDE, x)
    # The bias at width m is of order 1/m, so at four times the width a quarter of what it was; the rest is noise.
    assert wide < narrow / 4 + 4 * wide_error, (narrow, wide, wide_error)
    assert wide < 0.1
    # 1/√m would be a half; the estimate of either from 24 correlated draws is good to about a third.
    assert wide_error < 0.85 * narrow_error
    assert z < 3
