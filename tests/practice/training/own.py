"""Networks and data of tests of training, and whether two networks are the same."""

import torch
from torch import nn

import ntkgap as ng
from tests.tolerances import EXACT

N, FEATURES, CLASSES = 22, 5, 3


def data(seed=0, n=N):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, FEATURES, generator=g, dtype=torch.float64)
    return ng.Dataset(x, torch.eye(CLASSES, dtype=torch.float64)[torch.arange(n) % CLASSES], CLASSES)


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FEATURES, 7), nn.Tanh(), nn.Linear(7, CLASSES)).double()


def practical(seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(FEATURES, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, CLASSES)
    return nn.Sequential(*layers).double()


def same(one, two, tolerance=EXACT):
    for (name, a), (_, b) in zip(one.state_dict().items(), two.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=name)
