"""Networks with batch statistics and random masks, and whether a call leaves chance alone."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from tests.practice.continual.made import FEATURES, OUTPUTS


def seeded(build):
    def make(seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build()

    return make


@seeded
def normalized():
    layers = nn.Linear(FEATURES, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, OUTPUTS)
    return nn.Sequential(*layers).double()


@seeded
def dropping():
    return nn.Sequential(nn.Linear(FEATURES, 9), nn.ReLU(), nn.Dropout(0.4), nn.Linear(9, OUTPUTS)).double()


@seeded
def both():
    layers = nn.Linear(FEATURES, 9), nn.BatchNorm1d(9), nn.Dropout(0.4), nn.ReLU(), nn.Linear(9, OUTPUTS)
    return nn.Sequential(*layers).double()


NETWORKS = pytest.mark.parametrize("build", [normalized, dropping, both], ids=["batch norm", "dropout", "both"])


def data(n=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, FEATURES, generator=g, dtype=torch.float64)
    return ng.Dataset(x, torch.eye(OUTPUTS, dtype=torch.float64)[torch.arange(n) % OUTPUTS], OUTPUTS)


def untouched(call):
    """What a call returns, once it is sure that the random state of the process is where it was."""
    state = torch.get_rng_state()
    found = call()
    assert torch.equal(torch.get_rng_state(), state)
    return found
