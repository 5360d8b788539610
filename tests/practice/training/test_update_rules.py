"""Gradient descent and Adam of our own are torch's, to the last bit."""

import copy

import pytest
import torch

import ntkgap as ng
from ntkgap.models import parameter_groups
from ntkgap.practice.training.update_rules import UpdateRule, update_rule

SGD, ADAM = torch.optim.SGD, torch.optim.Adam


@pytest.mark.parametrize(
    ("name", "momentum", "decay", "torchs"),
    [
        ("sgd", 0.0, 0.0, SGD),
        ("sgd", 0.9, 0.0, SGD),
        ("sgd", 0.9, 0.1, SGD),
        ("adam", 0.0, 0.0, ADAM),
        ("adam", 0.0, 0.1, ADAM),
    ],
)
def test_equal_to_torch(name: str, momentum: float, decay: float, torchs: type) -> None:
    generator = torch.Generator().manual_seed(0)
    # Layers in μP have learning rates of their own.
    ours = ng.MLP(5, 3, width=16, depth=2, parametrization="mup", generator=generator)
    theirs = copy.deepcopy(ours)
    x, y = torch.randn(8, 5, generator=generator), torch.randn(8, 3, generator=generator)
    settings = {"momentum": momentum} if torchs is SGD else {}
    rules = [
        (ours, update_rule(parameter_groups(ours, 0.01), name, momentum, decay)),
        (theirs, torchs(parameter_groups(theirs, 0.01), weight_decay=decay, **settings)),
    ]
    start = [p.clone() for p in ours.parameters()]
    for _ in range(5):
        for network, rule in rules:
            rule.zero_grad()
            (network(x) - y).square().sum().backward()
            rule.step()
    for before, p, expected in zip(start, ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p, expected)
        assert not torch.equal(p, before)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_goes_on_from_its_state(name: str) -> None:
    once, twice = (torch.ones(3, requires_grad=True) for _ in range(2))

    def steps(p: torch.Tensor, rule: UpdateRule, count: int) -> None:
        for _ in range(count):
            rule.zero_grad()
            (p * torch.arange(3.0)).square().sum().backward()
            rule.step()

    steps(once, update_rule([{"params": [once], "lr": 0.01}], name, 0.9), 4)
    first = update_rule([{"params": [twice], "lr": 0.01}], name, 0.9)
    steps(twice, first, 2)
    second = update_rule([{"params": [twice], "lr": 0.01}], name, 0.9)
    second.load_state_dict(first.state_dict())
    steps(twice, second, 2)
    assert torch.equal(once, twice)


def test_a_parameter_without_gradient_stays() -> None:
    p, unused = (torch.ones(2, requires_grad=True) for _ in range(2))
    rule = update_rule([{"params": [p, unused], "lr": 0.5}], "gd")
    p.sum().backward()
    rule.step()
    assert torch.equal(p.detach(), torch.full((2,), 0.5))
    assert torch.equal(unused.detach(), torch.ones(2))
    rule.zero_grad()
    assert p.grad is None
