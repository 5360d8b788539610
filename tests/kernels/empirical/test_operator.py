"""Operators against the matrices they stand for, and estimates against what they estimate."""

import copy

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

import ntkgap as ng
from ntkgap.errors import KernelError
from ntkgap.kernels.empirical import JacobianChange, KernelChange, NTKOperator, jacobian
from ntkgap.linalg import as_matrix
from ntkgap.linalg.conjugate_gradients import nystrom_preconditioner, solve_damped
from ntkgap.linalg.symmetric_operator import SymmetricOperator
from tests.kernels.empirical.cases import CASES
from tests.kernels.empirical.conftest import relative_error
from tests.kernels.empirical.tolerances import EXACT_F64

NAMES = [
    "mlp ntk bias",
    "tokens",
    "conv2d groups",
    "conv transpose 2d",
    "tied embedding",
    "block at two paths",
    "attention",
    "scaled parameters",
    "chunked weight",
    "recurrent loop",
    "gru",
    "outputs [n]",
]
STREAM = 1  # a budget of one byte: nothing can be kept


@pytest.mark.parametrize("budget", [None, STREAM], ids=["kept", "streamed"])
@pytest.mark.parametrize("case", [c for c in CASES if c.name in NAMES], ids=lambda c: c.name)
def test_products_are_those_of_the_matrices(case, budget):
    model, x = case.model(), case.inputs(5)
    start = copy.deepcopy(model)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)
    now, before = jacobian(model, x), jacobian(start, x)
    k, k0 = as_matrix(now.gram()), as_matrix(before.gram())
    change = k + k0 - as_matrix(now.gram(before)) - as_matrix(before.gram(now))
    v = torch.randn(len(k), 2, dtype=torch.float64)
    for operator, matrix in (
        (NTKOperator(model, x, memory_budget=budget), k),
        (JacobianChange(model, start, x, memory_budget=budget), change),
        (KernelChange(model, dict(start.named_parameters()), x, memory_budget=budget), k - k0),
    ):
        assert operator.shape == matrix.shape
        assert relative_error(operator @ v, matrix @ v) <= EXACT_F64
        assert relative_error(operator @ v[:, 0], matrix @ v[:, 0]) <= EXACT_F64


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    model, x = ng.MLP(5, 3, 64, 2, "erf").double(), torch.randn(30, 5).double()
    return model, x, NTKOperator(model, x), as_matrix(ng.empirical_ntk(model, x))


def test_extreme_eigenvalues_are_within_their_bounds(problem):
    _, _, operator, matrix = problem
    exact = torch.linalg.eigvalsh(matrix)
    for steps in (5, 20, 300):
        found = operator.eigenvalue_range(max_steps=steps)
        smallest, largest = found
        assert smallest >= float(exact[0]) - found.noise_floor
        assert largest <= float(exact[-1]) + found.noise_floor
        for value, error in ((smallest, found.smallest_error), (largest, found.largest_error)):
            assert float((exact - value).abs().min()) <= error + found.noise_floor
    assert found.converged
    assert abs(largest / float(exact[-1]) - 1) < 1e-4
    assert abs(smallest / float(exact[0]) - 1) < 1e-3
    assert found.decidable
    assert operator.eigenvalue_range(max_steps=5).converged is False


def test_a_singular_kernel_is_inconclusive(problem):
    model, x, _, _ = problem
    found = NTKOperator(model, torch.cat([x[:6], x[:1]])).eigenvalue_range()
    assert not found.decidable


def test_the_norm_of_a_change(problem):
    model, x, _, matrix = problem
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for p in moved.parameters():
            p += 1e-3 * torch.randn_like(p)
    difference = jacobian(moved, x) - jacobian(model, x)
    exact = torch.linalg.eigvalsh(as_matrix(difference.gram()))[-1].sqrt()
    for budget in (None, STREAM):
        found = JacobianChange(moved, model, x, memory_budget=budget).jacobian_norm()
        assert abs(float(found) / float(exact) - 1) < 1e-3
    exact_change = torch.linalg.eigvalsh(as_matrix(jacobian(moved, x).gram()) - matrix).abs().max()
    found = KernelChange(moved, model, x).spectral_norm()
    assert abs(float(found) / float(exact_change) - 1) < 1e-3
    assert float(JacobianChange(model, model, x).jacobian_norm()) == 0.0


def test_the_trace_is_exact_or_converges_to_it(problem):
    model, x, operator, matrix = problem
    assert abs(float(operator.trace()) / float(matrix.trace()) - 1) < EXACT_F64
    assert operator.trace().standard_error == 0
    few, many = (SymmetricOperator.trace(operator, samples, seed=3) for samples in (16, 1024))
    assert abs(float(many) - float(matrix.trace())) < 4 * many.standard_error
    assert many.standard_error < few.standard_error / 4  # 1/√64, with room for the spread of a spread
    streamed = NTKOperator(model, x, memory_budget=STREAM).trace(samples=64)
    assert abs(float(streamed) - float(matrix.trace())) < 4 * streamed.standard_error


def test_the_effective_rank(problem):
    _, _, operator, matrix = problem
    shares = torch.linalg.eigvalsh(matrix).clamp_min(0)
    shares = shares / shares.sum()
    exact = float(torch.special.entr(shares).sum().exp())
    found = operator.effective_rank(samples=24, steps=40)
    assert abs(float(found) - exact) < 4 * found.standard_error
    assert found.standard_error < 0.1 * exact


@pytest.mark.parametrize("rank", [None, 0])
def test_damped_solves(problem, rank):
    _, _, operator, matrix = problem
    b = torch.randn(30, 3, dtype=torch.float64)
    expected = torch.linalg.solve(matrix + 0.01 * torch.eye(90), b.flatten()).view(30, 3)
    assert relative_error(operator.solve(b, 0.01, tolerance=1e-10, rank=rank), expected) <= 1e-6
    with pytest.raises(KernelError, match="residual"):
        operator.solve(b, 1e-12, tolerance=1e-14, max_steps=2, rank=rank)
    with pytest.raises(KernelError, match="damping"):
        operator.solve(b, -1.0)


def test_the_preconditioner_saves_products(problem):
    _, _, operator, _ = problem

    class Counted:
        dtype, device, shape, products = operator.dtype, operator.device, operator.shape, 0

        def __matmul__(self, v):
            self.products += 1
            return operator @ v

    b = torch.randn(90, dtype=torch.float64)
    plain, helped = Counted(), Counted()
    solve_damped(plain, b, 1e-3, 1e-8, 1000, None)
    solve_damped(helped, b, 1e-3, 1e-8, 1000, nystrom_preconditioner(operator, 1e-3, 60))
    assert helped.products < 0.7 * plain.products


def test_scipy_sees_the_same_operator(problem):
    _, _, operator, matrix = problem
    view = operator.to_scipy()
    v = np.random.default_rng(0).normal(size=90)
    np.testing.assert_allclose(view @ v, matrix.numpy() @ v, rtol=1e-9)
    top = scipy.sparse.linalg.eigsh(view, k=1, return_eigenvectors=False)[0]
    assert abs(top / float(torch.linalg.eigvalsh(matrix)[-1]) - 1) < 1e-8


def test_shapes_that_do_not_fit(problem):
    _, _, operator, _ = problem
    with pytest.raises(KernelError, match=r"\(90, 90\).*\(7,\)"):
        operator @ torch.randn(7)


def test_what_an_operator_cannot_do_is_said():
    model = ng.MLP(3, 2, 8, 1, "tanh").double()
    other = ng.MLP(3, 2, 8, 1, "tanh").double()
    x = torch.randn(5, 3, dtype=torch.float64)
    nothing = ng.kernels.JacobianChange(model, model, x)
    b = torch.randn(10, dtype=torch.float64)
    torch.testing.assert_close(nothing.solve(b, 0.1), b / 0.1)
    with pytest.raises(KernelError, match="zero"):
        nothing.effective_rank()
    change = ng.kernels.KernelChange(model, other, x)
    for ask in (lambda: change.solve(b, 0.1), change.effective_rank):
        with pytest.raises(KernelError, match="indefinite"):
            ask()
    with pytest.raises(KernelError, match=r"b has shape \(10, 2\)"):
        ng.NTKOperator(model, x).solve(torch.randn(10, 2), 0.1)
    with pytest.raises(KernelError, match="memory_budget must be a positive"):
        ng.NTKOperator(model, x, memory_budget=-5)
