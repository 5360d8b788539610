"""Calls that train."""

from __future__ import annotations

import copy

import torch
from torch import nn

import ntkgap as ng
from tests.devices.made import case, classes, data, images, inputs, net, numbers, plain


@case
def linearize(device):
    linearized = ng.linearize(net(device))
    x = inputs(device)
    curve = ng.train(linearized, data(device), learning_rate=0.05, steps=3)
    image_linearized = ng.linearize(plain(device))
    return linearized(x), curve.losses, image_linearized(images(device))


@case
def train(device):
    found = []
    settings = [
        {}, {"optimizer": "sgd", "batch_size": 2}, {"optimizer": "adam", "weight_decay": 0.1, "clip": 1.0},
        {"optimizer": torch.optim.LBFGS, "steps": 1}, {"loss": nn.MSELoss()},
        {"schedule": lambda step: 0.9**step, "test": data(device)},
    ]  # fmt: skip
    for options in settings:
        network, options = net(device), {"steps": 3} | options
        found += [
            ng.train(network, data(device), learning_rate=0.01, **options).losses,
            network(inputs(device)),
        ]
    curve = ng.train(net(device, outputs=3), classes(device), learning_rate=0.01, steps=3, loss="cross_entropy")
    return found + curve.losses


@case
def train_with_batch_norm_and_dropout(device):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2)).to(device)
    curve = ng.train(network, data(device), learning_rate=0.01, steps=3, optimizer="sgd", batch_size=3)
    return curve.losses, network.state_dict()


@case
def train_ensemble(device):
    def members(i):
        return net(device, seed=i)

    found = [
        ng.train_ensemble(
            members, data(device), 3, learning_rate=0.02, steps=3, inputs=inputs(device, 2), **options
        )
        for options in ({}, {"anchoring": 0.1}, {"optimizer": "adam"}, {"optimizer": "sgd", "batch_size": 2})
    ]

    def masked(i):
        torch.manual_seed(i)
        return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2)).to(device)

    found += [ng.train_ensemble(masked, data(device), 2, learning_rate=0.02, steps=3, inputs=inputs(device, 2))]
    return found


@case
def second_order(device):
    found = []
    settings = [
        {"learning_rate": 0.5, "damping": 0.1}, {"learning_rate": "search"},
        {"learning_rate": 1.0, "damping": "adaptive"},
        {"learning_rate": 0.5, "damping": 0.1, "solver": "conjugate_gradients"},
    ]  # fmt: skip
    for options in settings:
        network, given = net(device).double(), data(device).to(torch.float64)
        found += [ng.optimizers.natural_gradient_descent(network, given, steps=2, **options).losses]
    return found, ng.optimizers.kfac_descent(
        net(device), data(device), learning_rate=0.1, steps=2, damping=0.1
    ).losses


@case
def tune(device):
    def attempt(learning_rate):
        return ng.train(net(device), data(device), learning_rate=learning_rate, steps=2)

    found = ng.optimizers.tune(attempt, {"learning_rate": (0.001, 0.01)})
    return [trial.score for trial in found.trials]


@case
def search_jacobian_change(device):
    found = ng.optimizers.search_jacobian_change(
        net(device, outputs=1), inputs(device), 0.5, starts=1, steps=1, generator=torch.Generator().manual_seed(0)
    )
    return found.largest, found.parameters, found.starts


@case
def coordinate_check(device):
    def build(width):
        return ng.MLP(3, 2, width, 2).to(device)

    found = ng.practice.coordinate_check(
        build, data(device), widths=[4, 8], seeds=[0, 1], steps=1, learning_rate=0.1
    )
    return found.initial, found.change


@case
def monitor(device):
    network, given = net(device), data(device)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    watch = ng.Monitor(
        network, given.x, given.y, x_test=inputs(device, 3), loss="squared", optimizer=optimizer, budget=None
    )
    before = copy.deepcopy(network)
    for step in range(3):
        loss = 0.5 * (network(given.x) - given.y).square().sum()
        watch.observe(step, loss=loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    table = watch.to_pandas().select_dtypes("number").to_numpy()
    return table, numbers(ng.compare_checkpoints(before, network, given.x))
