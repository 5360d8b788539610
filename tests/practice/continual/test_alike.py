"""Networks that learn together must be alike: each is run as the first of them with parameters of its own."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError
from tests.practice.continual.made import FEATURES, OUTPUTS, mlp, stream


def own(activation):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 9), activation, nn.Linear(9, OUTPUTS)).double()


def other(**settings):
    defaults = {"nonlinearity": "gelu"}
    g = torch.Generator().manual_seed(1)
    return ng.MLP(FEATURES, OUTPUTS, width=9, depth=1, generator=g, **(defaults | settings)).double()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (other(), other(nonlinearity="relu")),
        (other(antisymmetric=True), other(antisymmetric=True, nonlinearity="relu")),  # both start at 0
        (other(weight_std=1.0), other(weight_std=3.0)),
        (other(alpha=3.0), other(alpha=10.0)),
        (other(), other(parametrization="standard")),
        (own(nn.LeakyReLU()), own(nn.Tanh())),
    ],
    ids=["nonlinearity", "antisymmetric", "weight_std", "alpha", "parametrization", "own"],
)
def test_networks_that_compute_something_else_are_refused(first, second):
    with pytest.raises(ModelError, match="member 1 makes something else"):
        ng.train_tasks([first, second], stream(), learning_rate=0.02, stop=ng.Steps(3))


def test_rates_that_outputs_do_not_show_are_compared_as_well():
    """Times 2, or half as much of twice the weights: one function of the parameters, but not one learning rate."""
    first, second = ng.Scaled(mlp(), 2.0), ng.Scaled(ng.Scaled(mlp(1), 2.0), 1.0)
    ng.train_tasks([first, ng.Scaled(mlp(1), 2.0)], stream(), learning_rate=0.02, stop=ng.Steps(1))
    with pytest.raises(ModelError):
        ng.train_tasks([first, second], stream(), learning_rate=0.02, stop=ng.Steps(1))


def test_a_network_with_parameters_that_are_no_numbers_is_alike_and_diverges():
    broken = mlp(1)
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    runs = ng.train_tasks([mlp(), broken], stream(), learning_rate=0.02, stop=ng.Steps(2))
    assert runs.diverged.tolist() == [False, True]


def test_what_an_observer_is_given_stays_as_it_was():
    seen = []
    network = mlp()
    ng.train_tasks(
        [network],
        stream(),
        learning_rate=0.02,
        stop=ng.Steps(5),
        observe=lambda _, at: seen.append(at),
    )
    for p, start, end in zip(network.parameters(), seen[0](0).parameters(), seen[-1](0).parameters(), strict=True):
        assert torch.equal(p, start)
        assert not torch.equal(start, end)
