"""What an operator says of itself, beside the matrix that it stands for."""

import math

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkgap.errors import KernelError
from ntkgap.linalg import Estimate, spectrum
from tests.linalg.operators import Dense, Indefinite, random_gram, with_eigenvalues
from tests.tolerances import EXACT, ITERATED

SIZES = st.integers(1, 4)
KAPPA = [0.5, 1.0, 1.5, 2.0, 3.0, 8.0, 20.0, 50.0]


@settings(max_examples=40, deadline=None)
@given(n=SIZES, classes=SIZES, columns=st.integers(0, 3), seed=st.integers(0, 10**6))
def test_products_have_the_shape_of_what_is_multiplied(n, classes, columns, seed):
    size, generator = n * classes, torch.Generator().manual_seed(seed)
    operator = Dense(random_gram(size, 3, seed), classes)
    v = torch.randn(size, max(columns, 1), dtype=torch.float64, generator=generator)
    assert operator.shape == (size, size)
    expected = operator.matrix @ v
    torch.testing.assert_close(operator @ v[:, :columns], expected[:, :columns], rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(operator @ v[:, 0], expected[:, 0], rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(
        operator @ v[:, 0].view(n, classes), expected[:, 0].view(n, classes), rtol=EXACT, atol=EXACT
    )


def test_numbers_of_any_real_kind_are_multiplied_and_no_graph_is_kept():
    operator = Dense(with_eigenvalues(KAPPA).float(), 2)
    v = torch.arange(8)
    expected = operator.matrix @ v.float()
    for given_as in (v, v.tolist(), tuple(v.tolist()), v.numpy(), v.double(), v.double().requires_grad_()):
        found = operator @ given_as
        assert found.dtype == torch.float32
        assert not found.requires_grad
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("v", "words"),
    [
        (torch.ones(7), r"cannot multiply an operator of shape \(8, 8\) with a tensor of shape \(7,\)"),
        (torch.ones(2, 4), r"a tensor of shape \(2, 4\); it takes \[8\], \[8, m\] or \[4, 2\]"),
        (torch.ones(8, 1, 1), r"with a tensor of shape \(8, 1, 1\)"),
        (torch.ones(8, dtype=torch.complex64), r"with real numbers, got torch.complex64 on cpu"),
        (torch.ones(8, device="meta"), r"with real numbers, got torch.float32 on meta"),
        ("a vector", r"are multiplied with tensors, got str: "),
        (None, r"are multiplied with tensors, got NoneType: "),
        ([1.0, "two"], r"are multiplied with tensors, got list: "),
    ],
    ids=repr,
)
def test_what_cannot_be_multiplied_is_named(v, words):
    with pytest.raises(KernelError, match=words):
        Dense(with_eigenvalues(KAPPA), 2) @ v


def test_extreme_eigenvalues_are_those_of_the_matrix():
    found = Dense(with_eigenvalues(KAPPA), 2).eigenvalue_range()
    assert tuple(found) == pytest.approx((0.5, 50.0), rel=EXACT)
    assert found.converged
    assert not Dense(with_eigenvalues(KAPPA)).eigenvalue_range(max_steps=2).converged


@pytest.mark.parametrize("eigenvalues", [[-7.0, 1.0, 3.0], [-3.0, 1.0, 7.0]], ids=str)
def test_the_spectral_norm_is_the_largest_modulus(eigenvalues):
    found = Indefinite(with_eigenvalues(eigenvalues)).spectral_norm()
    assert float(found) == pytest.approx(7.0, rel=EXACT)
    assert 0 <= found.standard_error < EXACT


def test_the_error_of_a_norm_is_that_of_its_own_end():
    wide = with_eigenvalues([-100.0, *torch.linspace(-1, 50, 99).tolist()])
    found = Indefinite(wide).spectral_norm(max_steps=5)
    assert abs(float(found) - 100) <= found.standard_error < 50


def test_signs_give_the_trace_of_a_diagonal_exactly_and_of_others_within_the_error():
    diagonal = Dense(torch.diag(torch.tensor(KAPPA, dtype=torch.float64))).trace(samples=5)
    assert float(diagonal) == pytest.approx(sum(KAPPA), rel=EXACT)
    assert diagonal.standard_error < EXACT
    matrix = random_gram(40, 60)
    for seed in range(5):
        found = Dense(matrix, 4).trace(samples=200, seed=1000 * seed)
        assert abs(float(found) - float(matrix.trace())) < 4 * found.standard_error
        # Var zᵀKz = 2 Σ_{i≠j} K_ij²; the error's own is 1/√(2·200).
        spread = math.sqrt(2 * float((matrix - torch.diag(matrix.diagonal())).square().sum()) / 200)
        assert found.standard_error == pytest.approx(spread, rel=5 / 20)
    assert Dense(matrix).trace(samples=1).standard_error == math.inf


def test_the_effective_rank_is_that_of_the_spectrum_within_the_error():
    identity = Dense(3 * torch.eye(6, dtype=torch.float64), 2).effective_rank()
    assert float(identity) == pytest.approx(6, rel=EXACT)
    assert identity.standard_error < EXACT
    matrix = random_gram(30, 40)
    exact = spectrum(matrix).effective_rank
    for seed in range(5):
        found = Dense(matrix, 3).effective_rank(samples=30, seed=1000 * seed)
        assert abs(float(found) - exact) < 4 * found.standard_error < 0.2 * exact
    assert Dense(matrix).effective_rank(samples=1).standard_error == math.inf


def test_the_error_of_the_effective_rank_is_the_spread_over_seeds():
    matrix = random_gram(15, 15)
    found = [Dense(matrix).effective_rank(samples=10, seed=100 * seed) for seed in range(50)]
    spread = float(np.std([float(f) for f in found], ddof=1))
    assert float(np.mean([f.standard_error for f in found])) == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize("rank", [None, 0, 3])
@pytest.mark.parametrize("damping", [0.0, 0.1, 5.0])
def test_solves_are_those_of_dense_algebra(rank, damping, generator):
    operator = Dense(with_eigenvalues(KAPPA), 2)
    b = torch.randn(4, 2, dtype=torch.float64, generator=generator)
    damped = operator.matrix + damping * torch.eye(8, dtype=torch.float64)
    expected = torch.linalg.solve(damped, b.flatten())
    flat = operator.solve(b.flatten(), damping, tolerance=1e-12, rank=rank)
    torch.testing.assert_close(flat, expected, rtol=ITERATED, atol=ITERATED)
    assert torch.equal(operator.solve(b, damping, tolerance=1e-12, rank=rank), flat.view(4, 2))


def test_nothing_is_solved_by_nothing():
    zero = torch.zeros(8, dtype=torch.float64)
    assert torch.equal(Dense(with_eigenvalues(KAPPA)).solve(zero, 0.1), zero)


@pytest.mark.parametrize("damping", [-1e-3, math.nan])
def test_damping_is_not_negative(damping):
    with pytest.raises(KernelError, match=f"damping must be a number of at least 0, got {damping!r}"):
        Dense(with_eigenvalues(KAPPA)).solve(torch.ones(8), damping)


def test_what_an_operator_cannot_do_is_said():
    zero = Dense(torch.zeros(3, 3, dtype=torch.float64))
    with pytest.raises(KernelError, match="this operator is zero: its eigenvalues have no shares"):
        zero.effective_rank()
    change = Indefinite(with_eigenvalues([-1.0, 1.0]))
    with pytest.raises(KernelError, match="this operator is indefinite: its eigenvalues have no shares"):
        change.effective_rank()
    with pytest.raises(KernelError, match="this operator is indefinite; conjugate gradients"):
        change.solve(torch.ones(2), 0.1)
    with pytest.raises(KernelError, match=r"b has shape \(8, 2\); it must be \[8\] or \[4, 2\]: solve"):
        Dense(with_eigenvalues(KAPPA), 2).solve(torch.ones(8, 2), 0.1)
    with pytest.raises(KernelError, match="reached a relative residual of"):
        Dense(with_eigenvalues(KAPPA)).solve(torch.arange(8.0), 0.1, max_steps=1, rank=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scipy_sees_the_same_matrix(dtype):
    operator = Dense(with_eigenvalues(KAPPA).to(dtype), 2)
    view = operator.to_scipy()
    assert view.dtype == operator.matrix.numpy().dtype
    v = np.arange(8, dtype=view.dtype)
    for product in (view @ v, view.T @ v):
        np.testing.assert_array_equal(product, (operator.matrix @ torch.from_numpy(v)).numpy())
    np.testing.assert_allclose(view @ v[:, None], (operator.matrix @ torch.from_numpy(v))[:, None], rtol=1e-6)
    top = scipy.sparse.linalg.eigsh(view, k=1, return_eigenvectors=False)
    assert top == pytest.approx([50.0], rel=1e-5)


def test_they_show_themselves_in_a_line():
    assert repr(Dense(with_eigenvalues(KAPPA).float(), 2)) == "Dense(4 examples, 2 outputs, float32, cpu)"
    assert repr(Estimate(2.0)) == "2"
    assert repr(Estimate(2.0, 0.125)) == "2 ± 0.12"
