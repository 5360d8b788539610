"""Gradient descent of our own is torch's, to the last bit."""

import copy

import pytest
import torch

import ntkgap as ng
from ntkgap.models import parameter_groups
from ntkgap.practice.training.update_rules import update_rule


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_equal_to_torch_sgd(momentum: float) -> None:
    generator = torch.Generator().manual_seed(0)
    # Layers in μP have learning rates of their own.
    ours = ng.MLP(5, 3, width=16, depth=2, parametrization="mup", generator=generator)
    theirs = copy.deepcopy(ours)
    x, y = torch.randn(8, 5, generator=generator), torch.randn(8, 3, generator=generator)
    rules = [
        (ours, update_rule(parameter_groups(ours, 0.01), "sgd", momentum)),
        (theirs, torch.optim.SGD(parameter_groups(theirs, 0.01), momentum=momentum)),
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


def test_a_parameter_without_gradient_stays() -> None:
    p, unused = (torch.ones(2, requires_grad=True) for _ in range(2))
    rule = update_rule([{"params": [p, unused], "lr": 0.5}], "gd")
    p.sum().backward()
    rule.step()
    assert torch.equal(p.detach(), torch.full((2,), 0.5))
    assert torch.equal(unused.detach(), torch.ones(2))
    rule.zero_grad()
    assert p.grad is None


def test_adam_is_torchs() -> None:
    assert isinstance(
        update_rule([{"params": [torch.ones(1, requires_grad=True)], "lr": 0.1}], "adam"), torch.optim.Adam
    )
