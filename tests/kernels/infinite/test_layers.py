"""Limits without an oracle: finite networks converge to them at the predicted rate."""

import pytest
import torch

from tests.kernels.infinite.finite_networks import assert_converges
from tests.kernels.infinite.models import IMAGES, RESIDUAL, SMALL

CASES = {
    **{name: (build, 2, 32) for name, build in SMALL.items()},
    **{name: (build, 4, 32) for name, build in IMAGES.items()},
    **{name: (build, 8, 16) for name, build in RESIDUAL.items()},
}


@pytest.mark.parametrize("name", CASES)
def test_finite_networks_converge_to_the_limit(name):
    build, side, width = CASES[name]
    x = torch.randn(4, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert_converges(build, x, width)
