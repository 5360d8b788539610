"""Observing leaves the network, the optimizer and the random numbers of the process as they are."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

import ntkgap as ng
from tests.practice.monitor.networks import BUILD, case


def state_of(model, optimizer):
    """Everything that a look might change, copied."""
    hooks = {
        (name, key): len(held)
        for name, module in model.named_modules()
        for key, held in vars(module).items()
        if "_hooks" in key and held is not None
    }
    return {
        "values": {name: value.clone() for name, value in model.state_dict().items()},
        "identities": {name: id(p) for name, p in model.named_parameters()},
        "versions": {name: t._version for name, t in (*model.named_parameters(), *model.named_buffers())},
        "flags": {name: module.training for name, module in model.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "gradients": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "hooks": hooks,
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1],  # noqa: NPY002
        "python": random.getstate(),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
    }


def equal(one, two):
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(equal, one, two))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    return np.array_equal(one, two) if isinstance(one, np.ndarray) else one == two


def train_once(made, optimizer):
    """A step, whose gradients stay."""
    args = made.x.values() if isinstance(made.x, dict) else (made.x,)
    outputs = made.model(*args)
    optimizer.zero_grad()
    outputs.square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("outputs", [None, 2])
@pytest.mark.parametrize("name", BUILD)
def test_a_look_changes_nothing(name, outputs):
    made = case(name)
    made.model.train()
    list(made.model.modules())[-1].eval()  # parts keep their own mode
    optimizer = torch.optim.SGD([p for p in made.model.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    train_once(made, optimizer)
    before = state_of(made.model, optimizer)
    loss = "squared" if name == "one output" else nn.CrossEntropyLoss()
    monitor = ng.Monitor(made.model, made.x, made.y, loss=loss, optimizer=optimizer, outputs=outputs, budget=None)
    monitor.observe(0)
    after = state_of(made.model, optimizer)
    assert [key for key in before if not equal(before[key], after[key])] == []
    train_once(made, optimizer)
    before = state_of(made.model, optimizer)
    assert monitor.observe(1)["kernel_change"] > 0
    after = state_of(made.model, optimizer)
    assert [key for key in before if not equal(before[key], after[key])] == []


def test_a_watched_training_is_the_training():
    def trained(watched):
        made = case("dropout")
        optimizer = torch.optim.Adam(made.model.parameters(), lr=0.01)
        monitor = ng.Monitor(made.model, made.x, optimizer=optimizer, budget=None)
        torch.manual_seed(5)
        if watched:
            with monitor.watching(total_steps=9, observations=3):
                for _ in range(9):
                    train_once(made, optimizer)
            assert list(monitor.to_pandas()["step"]) == [1, 3, 9]
            train_once(made, optimizer)  # the hook is gone
            assert len(monitor.to_pandas()) == 3
        else:
            for _ in range(10):
                train_once(made, optimizer)
        return made.model.state_dict()

    assert equal(dict(trained(True)), dict(trained(False)))


def test_the_probe_is_the_monitors_own():
    made = case("dropout")
    monitor = ng.Monitor(made.model, made.x, budget=None)
    x = made.x.clone()
    made.x.zero_()
    made.move()
    found = monitor.observe(1)
    again = case("dropout")
    other = ng.Monitor(again.model, x, budget=None)
    again.move()
    assert other.observe(1) == pytest.approx(found, nan_ok=True)


def test_inside_of_modes_that_change_numbers():
    made = case("batch normalization")
    monitor = ng.Monitor(made.model, made.x, budget=None)
    made.move()
    plain = monitor.observe(1)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert monitor.observe(2) == pytest.approx(plain, nan_ok=True)
