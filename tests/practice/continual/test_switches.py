"""Kernel change at task switches against kernels that are known."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.data import Task, TaskStream
from ntkgap.errors import DataError
from ntkgap.practice.continual import Steps, train_tasks
from ntkgap.practice.continual.switches import KernelSwitches
from tests.tolerances import EXACT


class Quadratic(nn.Module):
    """f(x) = ½ a² x: the kernel is a² x xᵀ."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x):
        return self.a.square() / 2 * x


@pytest.mark.parametrize("outputs", ["mean", "full"])
def test_changes_of_known_kernels(outputs):
    probe = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    seen = KernelSwitches(probe, 2, outputs)
    for phase, scales in enumerate(([1.0, 2.0], [2.0, 2.0], [3.0, float("nan")])):
        seen(phase, lambda i, scales=scales: Quadratic(scales[i]))
    nan = float("nan")
    expected = torch.tensor([[3, 5 / 4], [0, nan]], dtype=torch.float64)
    torch.testing.assert_close(seen.change, expected, rtol=0, atol=EXACT, equal_nan=True)
    expected = torch.tensor([[3, 8], [0, nan]], dtype=torch.float64)
    torch.testing.assert_close(seen.change_since_start, expected, rtol=0, atol=EXACT, equal_nan=True)
    expected = torch.tensor([[0, 0], [0, nan]], dtype=torch.float64)
    torch.testing.assert_close(seen.distance, expected, rtol=0, atol=EXACT, equal_nan=True)


def test_a_kernel_of_another_shape_is_at_a_distance():
    class Two(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.a = nn.Parameter(torch.tensor([a, b], dtype=torch.float64))

        def forward(self, x):
            return (x * self.a.square() / 2).sum(dim=1, keepdim=True)

    seen = KernelSwitches(torch.eye(2, dtype=torch.float64), 1)
    seen(0, lambda i: Two(1.0, 0.0))  # diag(1, 0)
    seen(1, lambda i: Two(1.0, 1.0))  # diag(1, 1)
    assert seen.distance.item() == pytest.approx(1 - 0.5**0.5, abs=EXACT)
    assert seen.change.item() == pytest.approx(1, abs=EXACT)


def test_phases_come_in_order():
    seen = KernelSwitches(torch.ones(1, 1, dtype=torch.float64), 1)
    with pytest.raises(DataError, match="phase 0 comes next"):
        seen(1, lambda i: Quadratic(1.0))
    seen(0, lambda i: Quadratic(1.0))
    with pytest.raises(DataError, match="phase 1 comes next"):
        seen(0, lambda i: Quadratic(1.0))
    with pytest.raises(DataError, match="at least one input"):
        KernelSwitches(torch.ones(0, 1), 1)


def test_training_calls_it_and_a_linear_model_keeps_its_kernel(generator):
    x = torch.randn(2, 6, 3, dtype=torch.float64, generator=generator)
    y = torch.randn(2, 6, 1, dtype=torch.float64, generator=generator)
    parts = [ng.Dataset(x[t], y[t], None) for t in range(2)]
    stream = TaskStream("random", tuple(Task(str(t), part, part, (0,)) for t, part in enumerate(parts)))
    linear = ng.NTKLinear(3, 1).double()
    deep = ng.MLP(3, 1, 8, 2, "tanh", generator=generator).double()
    for network in (linear, deep):
        seen = KernelSwitches(x[0], 1)
        runs = train_tasks([network], stream, learning_rate=0.05, stop=Steps(5), observe=seen)
        assert seen.change.shape == runs.moved.shape == (1, 2)
        assert (runs.moved > 0.01).all()
        if network is linear:
            assert seen.change.abs().max() < EXACT
        else:
            assert (seen.change > 1e-4).all()
