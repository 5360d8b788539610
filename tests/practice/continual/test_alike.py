"""Networks that learn together must be alike: each is run as the first of them with parameters of its own."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError
from tests.practice.continual.made import FEATURES, OUTPUTS, mlp, stream


def own(activation, silent=False):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(FEATURES, 9), activation, nn.Linear(9, OUTPUTS)).double()
    if silent:
        nn.init.zeros_(network[2].weight)
        nn.init.zeros_(network[2].bias)
    return network


class Wave(nn.Module):
    """Amplifies rounding."""

    def forward(self, x):
        return torch.sin(300.0 * x)


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
        (own(nn.ReLU(), silent=True), own(nn.Tanh(), silent=True)),  # both start at 0
    ],
    ids=["nonlinearity", "antisymmetric", "weight_std", "alpha", "parametrization", "own", "silent"],
)
def test_networks_that_compute_something_else_are_refused(first, second):
    with pytest.raises(ModelError, match="member 1 makes something else"):
        ng.continual.train_tasks([first, second], stream(), learning_rate=0.02, stop=ng.continual.Steps(3))


def test_rates_that_outputs_do_not_show_are_compared_as_well():
    """Times 2, or half as much of twice the weights: one function of the parameters, but not one learning rate."""
    first, second = ng.models.Scaled(mlp(), 2.0), ng.models.Scaled(ng.models.Scaled(mlp(1), 2.0), 1.0)
    ng.continual.train_tasks(
        [first, ng.models.Scaled(mlp(1), 2.0)], stream(), learning_rate=0.02, stop=ng.continual.Steps(1)
    )
    with pytest.raises(ModelError):
        ng.continual.train_tasks([first, second], stream(), learning_rate=0.02, stop=ng.continual.Steps(1))


def test_a_network_with_parameters_that_are_no_numbers_is_alike_and_diverges():
    broken = mlp(1)
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    runs = ng.continual.train_tasks([mlp(), broken], stream(), learning_rate=0.02, stop=ng.continual.Steps(2))
    assert runs.diverged.tolist() == [False, True]


def test_what_an_observer_is_given_stays_as_it_was():
    seen = []
    network = mlp()
    ng.continual.train_tasks(
        [network],
        stream(),
        learning_rate=0.02,
        stop=ng.continual.Steps(5),
        observe=lambda _, at: seen.append(at),
    )
    for p, start, end in zip(network.parameters(), seen[0](0).parameters(), seen[-1](0).parameters(), strict=True):
        assert torch.equal(p, start)
        assert not torch.equal(start, end)


def test_networks_that_amplify_rounding_are_alike_and_so_are_those_with_a_domain():
    def wave(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(FEATURES, 9), Wave(), nn.Linear(9, 9), Wave(), nn.Linear(9, OUTPUTS))

    single = stream(dtype=torch.float32)
    ng.continual.train_tasks([wave(0), wave(1)], single, learning_rate=1e-6, stop=ng.continual.Steps(1))

    class Whitened(nn.Module):
        def __init__(self):
            super().__init__()
            self.covariance = nn.Parameter(torch.eye(FEATURES, dtype=torch.float64) * 1e-3 + 1.0)
            self.last = nn.Linear(FEATURES, OUTPUTS, dtype=torch.float64)

        def forward(self, x):
            return self.last(x @ torch.linalg.cholesky(self.covariance))

    ng.continual.train_tasks([Whitened(), Whitened()], stream(), learning_rate=1e-9, stop=ng.continual.Steps(1))
