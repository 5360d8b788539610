"""The estimate from finite networks, for whatever has no recursion."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import KernelError, ModelError

VECTORS = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def head(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), *layers)


def test_it_estimates_what_is_refused():
    def build():
        return nn.Sequential(nn.Conv2d(2, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 9, 2))

    found = ng.kernels.monte_carlo_kernel(build, IMAGES, draws=6, seed=3)
    assert found.ntk.shape == found.ntk_error.shape == (3, 3)
    assert (found.ntk_error < 0.2 * found.ntk.diagonal().max()).all()
    again = ng.kernels.monte_carlo_kernel(build, IMAGES, IMAGES[:2], draws=6, seed=3)
    torch.testing.assert_close(again.ntk, found.ntk[:, :2])


def test_bad_arguments():
    fixed = head(nn.ReLU(), nn.Linear(8, 1))
    with pytest.raises(KernelError, match=r"draws must be an integer of at least 2"):
        ng.kernels.monte_carlo_kernel(lambda: fixed, VECTORS, draws=1)
    with pytest.raises(KernelError, match=r"all networks have the same kernel"):
        ng.kernels.monte_carlo_kernel(lambda: fixed, VECTORS, draws=3)
    with pytest.raises(ModelError, match=r"must return an nn.Module, got int"):
        ng.kernels.monte_carlo_kernel(lambda: 3, VECTORS)
