"""Kernels again and again: as exact as those that are checked every time."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.kernels import RepeatedKernel
from tests.tolerances import EXACT

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def move(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype)


class Turning(nn.Module):
    """Goes another way once its bias is positive."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.bias = nn.Linear(4, 3), nn.Linear(4, 3), nn.Parameter(-torch.ones(3))

    def forward(self, x):
        layer = self.one if self.bias.sum() < 0 else self.two
        return torch.tanh(layer(x)) * self.bias


@pytest.mark.parametrize("budget", [None, 60_000])
def test_the_same_as_empirical_ntk(budget):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    kernel = RepeatedKernel(budget)
    kernel.compute_checked(model, X)
    move(model)
    expected = ng.empirical_ntk(model, X, layerwise=True)
    found = kernel(model, X, layerwise=True)
    assert found.keys() == expected.keys()
    for layer in found:
        assert torch.allclose(found[layer], expected[layer], rtol=EXACT, atol=EXACT)
    assert torch.allclose(kernel(model, X)[""], sum(expected.values()), rtol=EXACT, atol=EXACT)


def test_the_old_name_goes_on_working_and_warns():
    torch.manual_seed(0)
    model, kernel = nn.Linear(4, 2).double(), RepeatedKernel()
    with pytest.warns(DeprecationWarning, match="checked of a RepeatedKernel is now compute_checked") as caught:
        found = kernel.checked(model, X)
    assert caught[0].filename == __file__
    assert torch.allclose(found[""], ng.empirical_ntk(model, X), rtol=EXACT, atol=EXACT)


def test_what_takes_another_way_is_checked_anew():
    torch.manual_seed(0)
    model = Turning().double()
    kernel = RepeatedKernel()
    kernel.compute_checked(model, X)
    with torch.no_grad():
        model.bias.fill_(1.0)
    assert torch.allclose(kernel(model, X)[""], ng.empirical_ntk(model, X), rtol=EXACT, atol=EXACT)


def test_what_fell_back_once_stays_so():
    torch.manual_seed(0)
    model = Turning().double()
    kernel = RepeatedKernel()
    for value in (-1.0, 1.0, -0.5):
        with torch.no_grad():
            model.bias.fill_(value)
        found = kernel.compute_checked(model, X)[""]
        assert torch.allclose(found, ng.empirical_ntk(model, X), rtol=EXACT, atol=EXACT)
