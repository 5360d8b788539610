"""Calls from many threads give the numbers of one, and leave torch and the networks as they were."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import ntkgap as ng
from tests.kernels.empirical.modules import With

THREADS = 8
ROUNDS = 3  # of all quantities, for each thread
pytestmark = pytest.mark.usefixtures("threads_change_places_often")


def mlp():
    return nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.Linear(24, 2))


def checkpointed():
    # Without preserve_rng_state: torch.get_rng_state takes the lock of the generator and that of Python in either
    # order, so that threads in it may wait for each other for good (torch 2.13).
    kept = {"use_reentrant": False, "preserve_rng_state": False}

    def forward(m, x):
        return m.c(checkpoint(lambda h: torch.tanh(m.b(h)), torch.tanh(m.a(x)), **kept))

    return With(forward, a=nn.Linear(5, 8), b=nn.Linear(8, 8), c=nn.Linear(8, 2))


def normed():
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2)).eval()


def quantities(net, x):
    """One number of each kind of call."""
    v = torch.ones(2 * len(x))
    return [
        lambda: ng.empirical_ntk(net, x),
        lambda: ng.empirical_ntk(net, x[:3], x[2:], "diagonal"),
        lambda: ng.empirical_ntk(net, x, outputs="sum"),
        lambda: ng.NTKOperator(net, x) @ v,
        lambda: ng.NTKOperator(net, x, memory_budget=1000) @ v,
    ]


@pytest.mark.parametrize("build", [mlp, checkpointed, normed])
@pytest.mark.parametrize("shared", [True, False])
def test_many_threads_at_once(build, shared):
    torch.manual_seed(0)
    x = torch.randn(6, 5)
    nets = [build() for _ in range(1 if shared else THREADS)]
    calls = [quantities(net, x) for net in nets]
    expected = [[call() for call in of_net] for of_net in calls]
    held = [[(p, p.detach().clone()) for p in net.parameters()] for net in nets]
    wrong = []

    def work(thread):
        k = thread % len(nets)
        for i in range(ROUNDS * len(calls[k])):
            which = i % len(calls[k])
            if not torch.allclose(calls[k][which](), expected[k][which], rtol=1e-5, atol=1e-6):
                wrong.append((thread, i))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert not wrong
    for net, before in zip(nets, held, strict=True):
        for now, (same, value) in zip(net.parameters(), before, strict=True):
            assert now is same
            assert type(now) is nn.Parameter
            assert torch.equal(now, value)
            assert now.grad is None
        torch.optim.SGD(net.parameters(), 0.1)
    assert nn.Linear(5, 2)(x).shape == (6, 2)


def test_an_operator_is_shared_by_threads():
    net, x = mlp(), torch.randn(6, 5)
    for budget in (None, 1000):
        operator = ng.NTKOperator(net, x, memory_budget=budget)
        vs = [torch.randn(12) for _ in range(THREADS)]
        expected = [operator @ v for v in vs]
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(operator.__matmul__, vs * 5))
        assert all(torch.allclose(f, e, rtol=1e-5, atol=1e-6) for f, e in zip(found, expected * 5, strict=True))


def test_a_network_is_trained_while_kernels_of_others_are_computed():
    stop, failures = threading.Event(), []

    def kernels():
        net, x = mlp(), torch.randn(6, 5)
        while not stop.is_set():
            try:
                ng.empirical_ntk(net, x)
                ng.infinite_width(ng.MLP(5, 1, 16, 2)).ntk(x)
            except Exception as error:
                failures.append(error)

    background = threading.Thread(target=kernels)
    background.start()
    try:
        net, x = mlp(), torch.randn(32, 5)
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        for _ in range(200):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    finally:
        stop.set()
        background.join()
    assert not failures
