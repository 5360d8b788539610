"""A budget is what is used beyond inputs and results, or the call is refused."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import KernelError
from ntkgap.models import ConvNet, NTKLinear
from tests.kernels.infinite.apart import run_apart
from tests.tolerances import EXACT

MIB = 2**20
FIXED = 10 * MIB  # of what libraries hold for themselves


def pooled_inputs():
    """What is done to the input comes before the first weights."""
    return nn.Sequential(nn.MaxPool2d(2), nn.Tanh(), nn.Flatten(), NTKLinear(768, 8), nn.ReLU(), NTKLinear(8, 1))


def wide():
    """Weights are looked at to tell what they were drawn from."""
    return nn.Sequential(nn.Linear(500, 2000), nn.ReLU(), nn.Linear(2000, 2000), nn.ReLU(), nn.Linear(2000, 1))


CASES = {
    "dense": (lambda: ng.MLP(784, 1, 8, 3), (1500, 784), False),
    "only the diagonal": (lambda: ng.MLP(784, 1, 8, 3), (15000, 784), True),
    "deep": (lambda: ng.MLP(20, 1, 8, 20), (1500, 20), False),
    "quadrature": (lambda: ng.MLP(20, 1, 8, 2, nonlinearity="tanh"), (500, 20), False),
    "pairs of pixels": (lambda: ConvNet(3, 1, 8, 2), (12, 3, 12, 12), False),
    "pixels": (lambda: ConvNet(3, 1, 8, 2, pooling="flatten", image_size=16), (100, 3, 16, 16), False),
    "functions of the input": (pooled_inputs, (400, 3, 32, 32), False),
    "weights": (wide, (100, 500), False),
}


def peak():
    """Most memory that was resident since ``forget_peak``, in bytes."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def forget_peak():
    with open("/proc/self/clear_refs", "w", encoding="ascii") as clear:
        clear.write("5")


def measure_all(*budgets):
    torch.set_num_threads(2)
    for name in CASES:
        measure(name, budgets)


def measure(name, budgets):
    torch.manual_seed(0)
    build, shape, diagonal = CASES[name]
    limit, x = ng.infinite_width(build()), torch.randn(shape)
    limit.kernels(x[:3], diagonal=diagonal, memory_budget=budgets[0])  # libraries are loaded
    for budget in budgets:
        forget_peak()
        before = peak()
        kernels = limit.kernels(x, diagonal=diagonal, memory_budget=budget)
        used = peak() - before - sum(kernel.nbytes for kernel in kernels)
        assert used <= 1.5 * budget + FIXED, f"{name} at {budget / MIB} MiB: {used / MIB:.1f} MiB"
        del kernels


def has_peaks():
    try:
        forget_peak()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_peaks(), reason="this system does not tell peaks of memory")
def test_no_more_memory_is_used_than_the_budget():
    run_apart(measure_all, 8 * MIB, 32 * MIB)


@pytest.mark.parametrize("name", CASES)
def test_budgets_change_no_more_than_rounding(name):
    build, shape, diagonal = CASES[name]
    limit, x = ng.infinite_width(build()), torch.randn(min(shape[0], 40), *shape[1:], dtype=torch.float64)
    expected = limit.kernels(x, diagonal=diagonal)
    for budget in (8 * MIB, 2 * MIB):
        for found, whole in zip(limit.kernels(x, diagonal=diagonal, memory_budget=budget), expected, strict=True):
            torch.testing.assert_close(found, whole, rtol=max(EXACT, 10 * limit.error), atol=EXACT)


def test_a_budget_that_nothing_fits_is_refused_with_what_is_needed():
    limit, x = ng.infinite_width(ConvNet(3, 1, 8, 2)), torch.randn(3, 3, 8, 8)
    budget = 1000
    for _ in range(2):  # for a pair, and then, with that much to see it, for what is kept of every input
        with pytest.raises(KernelError, match=rf"memory_budget={budget:,} bytes is too small") as refusal:
            limit.ntk(x, memory_budget=budget)
        budget = int(str(refusal.value).split("at least ")[1].split(" bytes")[0].replace(",", ""))
    torch.testing.assert_close(limit.ntk(x, memory_budget=budget), limit.ntk(x))
    with pytest.raises(KernelError, match=r"too small"):
        limit.ntk(torch.randn(300, 3, 8, 8), memory_budget=budget)
