"""Calls from many threads: the same bits, and torch as it was for everybody else."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.kernels.infinite.recursion import Recursion
from ntkgap.kernels.workers import aside, one_by_one
from ntkgap.models import ConvNet
from tests.kernels.infinite.apart import run_apart

CALLS = 60


def in_a_fresh_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def train(x, steps=200):
    """Losses of a network with dropout, whose random numbers are those of the process."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 50), nn.ReLU(), nn.Dropout(0.1), nn.Linear(50, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def hammer():
    torch.set_num_threads(2)
    sys.setswitchinterval(1e-4)  # threads change places in the midst of a call, fifty times as often as usual
    torch.manual_seed(0)
    calls = nn.Module.__call__, nn.Module.__getattr__, torch.relu, nn.Module._call_impl
    x, images = torch.randn(6, 5), torch.randn(3, 2, 6, 6)
    normalized = nn.Sequential(nn.Linear(5, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 3))
    quadrature = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 3))
    models = [(ng.MLP(5, 1, 8, 2), x), (ConvNet(2, 1, 8, 2), images), (normalized, x), (quadrature, x)]
    models.append((ng.MLP(5, 1, 8, 2), torch.randn(400, 5)))  # of many tiles
    shared = [ng.infinite_width(model) for model, _ in models]

    def which(i):
        """Of eleven kernels: one of the first ten, or the last."""
        return 10 if i % 12 == 11 else i % 10

    def kernels(j):
        if j == 10:
            return ng.kernels.monte_carlo_kernel(lambda: ng.MLP(5, 2, 16, 2), x, draws=2)
        if j < len(models):
            return ng.infinite_width(models[j][0]).kernels(models[j][1])
        return shared[j - len(models)].kernels(models[j - len(models)][1])

    alone, losses = [kernels(j) for j in range(11)], train(x)
    numbers = set()
    with ThreadPoolExecutor(8) as pool:
        together = [pool.submit(kernels, which(i)) for i in range(CALLS)]
        for _ in range(20):
            numbers.add(in_a_fresh_thread(torch.get_num_threads))
        assert train(x) == losses
        while not all(future.done() for future in together):
            train(x, 10)
        together = [future.result() for future in together]
    for i, found in enumerate(together):
        assert all(torch.equal(a, b) for a, b in zip(found, alone[which(i)], strict=True))
    assert train(x) == losses
    assert (nn.Module.__call__, nn.Module.__getattr__, torch.relu, nn.Module._call_impl) == calls
    assert nn.Linear(5, 2)(x).shape == (6, 2)
    assert numbers == {2}, numbers
    assert torch.get_num_threads() == in_a_fresh_thread(torch.get_num_threads) == 2


def test_calls_from_eight_threads_beside_a_training():
    run_apart(hammer)


def test_nothing_is_patched_while_a_model_is_followed_or_when_it_raises():
    calls = nn.Module.__call__, nn.Module.__getattr__

    class Looks(nn.Module):
        def __init__(self, fails):
            super().__init__()
            self.last, self.fails = nn.Linear(5, 1), fails

        def forward(self, x):
            assert (nn.Module.__call__, nn.Module.__getattr__) == calls
            if not isinstance(x, torch.Tensor):  # followed, not run
                assert nn.Linear(5, 2)(torch.ones(1, 5)).shape == (1, 2)
                if self.fails:
                    raise KeyboardInterrupt
            return self.last(x)

    ng.infinite_width(Looks(False)).nngp(torch.ones(2, 5))
    model = Looks(True)
    with pytest.raises(KeyboardInterrupt):
        ng.infinite_width(model).nngp(torch.ones(2, 5))
    assert (nn.Module.__call__, nn.Module.__getattr__) == calls
    assert "_call_impl" not in vars(model)
    assert model(torch.ones(1, 5)).shape == (1, 1)


def numbers_of_threads():
    before = torch.get_num_threads()  # the process has not been told any
    list(one_by_one(lambda i: i, range(3), 2))
    assert torch.get_num_threads() == in_a_fresh_thread(torch.get_num_threads) == before
    for number in (3, 2, 4, 2):
        torch.set_num_threads(number)
        seen = [found for _, found in one_by_one(lambda _: torch.get_num_threads(), range(20), 2)]
        assert seen == [1] * 20
        assert torch.get_num_threads() == in_a_fresh_thread(torch.get_num_threads) == number
    torch.set_num_threads(1)
    name = aside(lambda: threading.current_thread().name)
    assert name == threading.current_thread().name


def failures():
    torch.set_num_threads(2)
    working = []

    def work(i):
        if i == 3:
            raise ValueError("three")
        working.append(i)
        time.sleep(0.01)
        return i

    with pytest.raises(ValueError, match="three"):
        list(one_by_one(work, range(100), 2))
    done = len(working)
    time.sleep(0.05)
    assert len(working) == done < 10  # the rest is never begun, and nothing goes on after the call
    assert torch.is_grad_enabled()
    with torch.enable_grad():
        assert aside(torch.is_grad_enabled)
    with torch.no_grad():
        assert not aside(torch.is_grad_enabled)
    # A call within a call waits for nobody.
    nested = one_by_one(lambda i: sum(j for _, j in one_by_one(lambda j: i * j, range(4), 2)), range(8), 2)
    assert sorted(nested) == [(i, 6 * i) for i in range(8)]


def of_workers():
    numbers_of_threads()  # first: it is about a process that has not been told any number
    failures()


def test_workers_have_one_core_and_others_what_they_had_a_failure_ends_them_and_calls_may_be_nested():
    run_apart(of_workers)  # both in one process: to start one takes longer than what is tested


def forked():
    torch.set_num_threads(2)
    limit, x = ng.infinite_width(ng.MLP(5, 1, 8, 2)), torch.randn(300, 5)
    expected = limit.ntk(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(limit.ntk(x), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def small_calls_on_busy_cores():
    torch.set_num_threads(2)
    torch.manual_seed(0)
    limit, x = ng.infinite_width(ng.MLP(784, 1, 8, 3)), torch.randn(4, 784)

    def processor_seconds():
        started = time.process_time()
        for _ in range(20):
            limit.ntk(x)
        return (time.process_time() - started) / 20

    processor_seconds()
    quiet = processor_seconds()
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        time.sleep(0.2)
        busy = processor_seconds()
    finally:
        for process in others:
            process.kill()
            process.wait()
    assert busy < 5 * quiet
    assert busy < 0.2


def many_tiles_by_several_threads():
    torch.set_num_threads(2)
    limit, seen = ng.infinite_width(ng.MLP(5, 1, 8, 3)), set()
    evaluate = Recursion.evaluate

    def noted(self, tile):
        seen.add(threading.get_ident())
        return evaluate(self, tile)

    Recursion.evaluate = noted
    limit.ntk(torch.randn(1500, 5))
    assert len(seen) == 2


def of_calls():
    small_calls_on_busy_cores()  # first: what has run before would warm it up
    if hasattr(os, "fork"):
        forked()
    many_tiles_by_several_threads()


def test_small_calls_do_not_burn_the_processor_a_fork_has_workers_of_its_own_and_large_kernels_use_all_cores():
    """Threads that wait for each other at every operation took sixty times what the work takes.

    All in one process: to start one takes longer than what is tested.
    """
    run_apart(of_calls)
