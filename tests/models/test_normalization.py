"""Statistics of batch normalization: set from inputs once, kept by the frozen kind."""

import pytest
import torch
from torch import nn

from ntkgap.models.normalization import FrozenBatchNorm2d, activation, freeze_statistics, set_statistics
from tests.tolerances import EXACT


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), activation(8, "relu", "batch"), nn.Dropout(0.5), nn.Flatten(), nn.Linear(32, 3)
    ).double()


@pytest.fixture
def x():
    return 3 + 2 * torch.randn(20, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_fresh_layers_get_the_statistics_of_the_inputs(x):
    net = network().eval()
    set_statistics(net, x)
    seen = net[0](x)
    mean, var = seen.mean((0, 2, 3)), seen.var((0, 2, 3))  # unbiased, as torch keeps it
    torch.testing.assert_close(net[1][0].running_mean, mean, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(net[1][0].running_var, var, rtol=EXACT, atol=EXACT)
    assert net[1][0].momentum == nn.BatchNorm2d(1).momentum
    assert not any(m.training for m in net.modules())


def test_layers_that_have_seen_batches_keep_theirs(x):
    net = network().train()
    net(x)
    before = net[1][0].running_mean.clone()
    set_statistics(net, x + 1)
    torch.testing.assert_close(net[1][0].running_mean, before, rtol=0, atol=0)
    assert all(m.training for m in net.modules())


def test_a_single_example_gives_no_statistics(x):
    net = network().eval()
    set_statistics(net, x[:1])
    assert not net[1][0].running_mean.any()


def test_frozen_layers_do_the_same_in_both_modes(x):
    net = network().eval()
    set_statistics(net, x)
    expected = net(x)
    freeze_statistics(net)
    assert type(net[1][0]) is FrozenBatchNorm2d
    net.train()
    net[2].eval()  # dropout apart
    torch.testing.assert_close(net(x), expected, rtol=0, atol=0)
    torch.testing.assert_close(net(2 * x[:1]), net.eval()(2 * x[:1]), rtol=0, atol=0)
