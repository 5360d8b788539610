"""The comparison that every limit must stand: networks of two widths, drawn at random."""

import torch

import ntkgap as ng

DRAWS = 24


def compare(build, width, x, draws=DRAWS):
    """Limit, mean kernels of finite networks, and both errors of the tangent kernel relative to its size."""
    torch.manual_seed(0)
    limit = ng.infinite_width(build(width).double()).kernels(x)
    found = ng.kernels.monte_carlo_kernel(lambda: build(width).double(), x, draws=draws, seed=1)
    scale = limit.ntk.norm()
    return limit, found, (found.ntk - limit.ntk).norm() / scale, found.ntk_error.norm() / scale


def assert_converges(build, x, width, draws=DRAWS, largest=0.1):
    """Mean kernels at a width and four times that approach the limit as theory says.

    Args:
        build: width -> network.
        x: inputs.
        width: the smaller width.
        draws: networks at each width.
        largest: relative distance allowed at the larger width.
    """
    _, _, narrow, narrow_noise = compare(build, width, x, draws)
    limit, found, wide, wide_noise = compare(build, 4 * width, x, draws)
    # The bias at width m is of order 1/m, so at four times the width a quarter of what it was; the rest is noise.
    assert wide < narrow / 4 + 4 * wide_noise
    assert wide < largest
    # 1/√m would be a half. A standard deviation from 24 draws is good to 1/√(2·23) = 15 %, the ratio of two to
    # 21 %: 0.85 is more than three of these above a half.
    assert wide_noise < 0.85 * narrow_noise
    assert (found.nngp - limit.nngp).norm() <= 4 * found.nngp_error.norm()
