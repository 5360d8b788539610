"""What a diagnosis measures, beside dense algebra."""

import copy
import math

import pytest
import scipy
import torch
from torch import nn

from ntkgap.data import Dataset
from ntkgap.practice.monitor.linearization_gap import gap
from ntkgap.practice.monitor.parameter_change import parameter_change
from ntkgap.studies.diagnosis.quantities import (
    largest_eigenvalue,
    linearized_at,
    outputs_of,
)
from ntkgap.studies.diagnosis.regression import kernel_of, kernel_predictions, training_time
from tests.tolerances import EXACT, ITERATED


@pytest.fixture
def moved():
    """A network, the same with other parameters, and inputs, in float64."""
    torch.manual_seed(0)
    before = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    after = copy.deepcopy(before)
    with torch.no_grad():
        for p in after.parameters():
            p += 0.1 * torch.randn_like(p)
    return before, after, torch.randn(6, 5, dtype=torch.float64)


def dense_jacobian(model, x):
    rows = []
    for out in model(x).reshape(-1):
        grads = torch.autograd.grad(out, list(model.parameters()), retain_graph=True)
        rows.append(torch.cat([g.reshape(-1) for g in grads]))
    return torch.stack(rows)


def test_the_gap_is_that_of_the_dense_jacobian(moved):
    before, after, x = moved
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    step = torch.cat([(q - p).detach().reshape(-1) for p, q in pairs])
    start, end = before(x).detach(), after(x).detach()
    change = (dense_jacobian(before, x) @ step).reshape(end.shape)
    expected = float((end - start - change).norm() / (end - start).norm())
    found = gap(end - start, outputs_of(linearized_at(before, after), x) - start)
    assert found == pytest.approx(expected, rel=ITERATED)
    assert expected > 0.01
    size = torch.cat([p.detach().reshape(-1) for p in before.parameters()]).norm()
    assert parameter_change(before, after) == pytest.approx(float(step.norm() / size), rel=EXACT)
    assert math.isnan(gap(start - start, start - start))


def test_the_largest_eigenvalue_is_that_of_the_dense_kernel(moved):
    _, after, x = moved
    jacobian = dense_jacobian(after, x)
    assert largest_eigenvalue(after, x) == pytest.approx(
        float(torch.linalg.eigvalsh(jacobian @ jacobian.T)[-1]), rel=1e-3
    )


@pytest.mark.parametrize("left", [0.5, 0.01])
def test_kernel_regression_is_gradient_flow(moved, left):
    model, _, x = moved
    x_test, y = torch.randn(4, 5, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    both = torch.cat([x, x_test])
    full = dense_jacobian(model, both)
    mean = (full @ full.T).reshape(10, 3, 10, 3).diagonal(dim1=1, dim2=3).mean(-1)
    kernel, cross = mean[:6, :6].detach(), mean[6:, :6].detach()
    kappa, modes = torch.linalg.eigh(kernel)
    t = training_time(kappa, (modes.T @ y).square().sum(1), left)
    decay = torch.as_tensor(scipy.linalg.expm(-kernel.numpy() * t))
    assert float((decay @ y).square().sum() / y.square().sum()) == pytest.approx(left, rel=1e-4)
    expected = cross @ torch.linalg.solve(kernel, (torch.eye(6) - decay) @ y)
    found = kernel_predictions(kernel_of(model, Dataset(x, y), Dataset(x_test, y[:4])), y, left)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_kernel_regression_stops_at_last():
    kappa, squares = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([1.0, 1.0], dtype=torch.float64)
    assert training_time(kappa, squares, 0.1) == 1e6  # half of it cannot be fitted
    assert training_time(kappa, squares, 1.5) == 0.0
