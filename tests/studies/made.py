"""Networks and data of tests of factories, and what a factory makes of them."""

import torch
from torch import Generator, nn

import ntkgap as ng
from ntkgap.studies.factories import factory_of, make

BUILD = """
from torch import nn

def build(width, in_features, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, {width}), nn.ReLU(), nn.Linear({width}, n_outputs))
"""

DATA = ng.Dataset(torch.randn(8, 5, generator=Generator().manual_seed(0)), torch.eye(2).repeat(4, 1), 2)


def mlp(width, in_features, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, n_outputs))


def made(given, seed=0, width=3, **options):
    return make(factory_of(given), DATA, width, options, Generator().manual_seed(seed))
