"""Streams and networks that are made up, and what is remembered of training them."""

import torch
from torch import nn

import ntkgap as ng
from ntkgap.data import Task, TaskStream

FEATURES, OUTPUTS, N = 14, 2, 5


def stream(seed=0, tasks=3, n=N, columns=None, classes=True, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)

    def data(size, c):
        x = torch.randn(size, FEATURES, generator=g, dtype=dtype)
        if not classes:
            return ng.Dataset(x, torch.randn(size, c, generator=g, dtype=dtype))
        labels = torch.arange(size) % c
        return ng.Dataset(x, torch.eye(c, dtype=dtype)[labels], c)

    places = [tuple(range(OUTPUTS))] * tasks if columns is None else columns
    return TaskStream(
        "made", tuple(Task(f"task {t}", data(n, len(c)), data(8, len(c)), c) for t, c in enumerate(places))
    )


def mlp(seed=0, outputs=OUTPUTS, dtype=torch.float64, **settings):
    g = torch.Generator().manual_seed(seed)
    return ng.MLP(FEATURES, outputs, width=9, depth=1, nonlinearity="gelu", generator=g, **settings).to(dtype)


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(FEATURES, OUTPUTS, bias=False, dtype=torch.float64)


class Keeper:
    """Remembers a copy of network 0 at every switch."""

    def __init__(self):
        self.networks = []

    def __call__(self, phase, network):
        assert phase == len(self.networks)
        self.networks.append(network(0))

    def outputs(self, phase, x):
        with torch.no_grad():
            return self.networks[phase](x)


def trained(network, tasks, method=None, steps=60, learning_rate=0.02, **settings):
    seen = Keeper()
    runs = ng.continual.train_tasks(
        [network],
        tasks,
        learning_rate=learning_rate,
        stop=ng.continual.Steps(steps),
        method=method,
        observe=seen,
        **settings,
    )
    return runs, seen
