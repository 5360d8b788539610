"""Kernels with gradients of their own."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import KernelError
from tests.kernels.empirical.modules import With
from tests.kernels.empirical.tolerances import EXACT_F64

NET = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()


def recurrent():
    return With(
        lambda m, x: m.out(m.rnn(x)[0][:, -1]), rnn=nn.GRU(3, 4, batch_first=True), out=nn.Linear(4, 2)
    ).double()


@pytest.mark.parametrize("outputs", ["full", "mean", "diagonal", "sum"])
def test_the_numbers_are_those_of_the_kernel(outputs):
    x1, x2 = torch.randn(4, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    found = ng.empirical_ntk(NET, x1, x2, outputs, differentiable=True)
    expected = ng.empirical_ntk(NET, x1, x2, outputs)
    assert (found - expected).abs().max() <= EXACT_F64 * expected.abs().max()


@pytest.mark.parametrize(("build", "shape"), [(lambda: NET, (2, 3)), (recurrent, (2, 2, 3))])
def test_gradients_with_respect_to_the_inputs(build, shape):
    net, x = build(), torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ng.empirical_ntk(net, x, differentiable=True), (x,))


def test_gradients_with_respect_to_the_parameters():
    x = torch.randn(3, 3, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    ng.empirical_ntk(net, x, outputs="mean", differentiable=True).sum().backward()
    found, h = net[0].weight.grad[1, 2].item(), 1e-6
    sums = []
    for sign in (1, -1):
        with torch.no_grad():
            net[0].weight[1, 2] += sign * h
            sums.append(ng.empirical_ntk(net, x, outputs="mean").sum().item())
            net[0].weight[1, 2] -= sign * h
    assert found == pytest.approx((sums[0] - sums[1]) / (2 * h), rel=1e-6)


def test_what_goes_not_together():
    with pytest.raises(KernelError, match="neither layerwise= nor memory_budget="):
        ng.empirical_ntk(NET, torch.randn(2, 3), memory_budget=10**6, differentiable=True)
