"""Eigenvalues from products alone, beside those of the matrix: what is said of their errors holds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkgap.linalg.lanczos import extreme_eigenvalues, lanczos
from tests.linalg.operators import with_eigenvalues
from tests.tolerances import EXACT


def start(size, dtype=torch.float64, seed=1):
    return torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def check_bounds(found, exact):
    """Ritz values lie within the range of eigenvalues, and each has one within its error.

    What they are compared with, from a dense solver in float64, has rounding of its own.
    """
    floor = found.noise_floor + len(exact) * torch.finfo(torch.float64).eps * float(exact.abs().max())
    assert float(exact[0]) - floor <= found.smallest
    assert found.largest <= float(exact[-1]) + floor
    for value, error in ((found.smallest, found.smallest_error), (found.largest, found.largest_error)):
        assert float((exact - value).abs().min()) <= error + floor


def test_a_whole_run_finds_every_eigenvalue_and_the_moments_of_its_start():
    matrix, q = with_eigenvalues([-2.0, 0.5, 1.0, 3.0, 10.0]), start(5)
    *_, state = lanczos(matrix.__matmul__, q, 100)
    values, vectors = state.ritz()
    torch.testing.assert_close(values, torch.linalg.eigvalsh(matrix), rtol=EXACT, atol=EXACT)
    unit = q / q.norm()
    for power in range(4):
        moment = unit @ torch.linalg.matrix_power(matrix, power) @ unit
        assert float(vectors[0].square() @ values**power) == pytest.approx(float(moment), rel=EXACT)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_residuals_are_those_of_the_ritz_pairs(steps):
    """‖A y − θ y‖ for both ends, with y from the basis that orthogonalizes q, Aq, A²q, …"""
    matrix, q = with_eigenvalues(torch.logspace(0, 2, 12)), start(12)
    *_, state = lanczos(matrix.__matmul__, q, steps)
    powers = torch.stack([torch.linalg.matrix_power(matrix, k) @ q for k in range(steps)], 1)
    basis = torch.linalg.qr(powers).Q
    values, inner = torch.linalg.eigh(basis.T @ matrix @ basis)
    ritz = basis @ inner
    residuals = (matrix @ ritz - ritz * values).norm(dim=0)
    expected = (values[0], values[-1], residuals[0], residuals[-1])
    assert state.ends() == pytest.approx([float(e) for e in expected], rel=1e-7)  # powers lose digits


@pytest.mark.parametrize("different", [1, 2, 3])
def test_it_ends_after_as_many_steps_as_there_are_eigenvalues(different):
    matrix = with_eigenvalues([float(i % different + 1) for i in range(12)])
    assert len(list(lanczos(matrix.__matmul__, start(12), 100))) == different
    found = extreme_eigenvalues(matrix.__matmul__, start(12), 1e-12, 100, True)
    assert found.steps == different
    assert found.converged
    assert tuple(found) == pytest.approx((1.0, float(different)), rel=EXACT)


# Numbers so small that their products underflow have no relative rounding error.
NUMBERS = st.just(0.0) | st.floats(1e-6, 100) | st.floats(-100, -1e-6)


@settings(max_examples=40, deadline=None)
@given(
    eigenvalues=st.lists(NUMBERS, min_size=1, max_size=30),
    steps=st.integers(1, 40),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    both=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_errors_cover_what_they_say(eigenvalues, steps, dtype, both, seed):
    matrix = with_eigenvalues(eigenvalues, seed).to(dtype)
    products = []

    def apply(v):
        products.append(v.dtype)
        return matrix @ v

    found = extreme_eigenvalues(apply, start(len(matrix), dtype, seed + 1), 1e-3, steps, both)
    exact = torch.linalg.eigvalsh(matrix.double())
    check_bounds(found, exact)
    assert products == [dtype] * found.steps
    assert found.steps <= min(steps, len(matrix))
    top = max(abs(found.smallest), abs(found.largest))
    assert found.noise_floor == pytest.approx(len(matrix) * torch.finfo(dtype).eps * top, rel=EXACT)


def test_it_stops_as_soon_as_what_was_asked_is_known():
    """The largest is far from all others and known soon; the smallest are many and close."""
    matrix = with_eigenvalues([*torch.linspace(1, 2, 199).tolist(), 100.0])
    one = extreme_eigenvalues(matrix.__matmul__, start(200), 1e-4, 150, False)
    both = extreme_eigenvalues(matrix.__matmul__, start(200), 1e-4, 150, True)
    few = extreme_eigenvalues(matrix.__matmul__, start(200), 1e-4, 7, True)
    assert one.steps < both.steps < 150
    assert one.converged
    assert one.largest == pytest.approx(100, rel=1e-4)
    assert one.smallest_error > 1e-4
    assert both.converged
    assert tuple(both) == pytest.approx((1.0, 100.0), rel=1e-4)
    assert few.steps == 7
    assert not few.converged


def test_what_rounding_covers_is_not_decidable():
    singular = extreme_eigenvalues(with_eigenvalues([0.0, 1.0, 2.0, 3.0]).__matmul__, start(4), 1e-4, 10, True)
    assert not singular.decidable
    assert extreme_eigenvalues(with_eigenvalues([1e-6, 1.0, 2.0]).__matmul__, start(3), 1e-4, 10, True).decidable
    single = with_eigenvalues([1e-8, 1.0, 2.0]).float()
    assert not extreme_eigenvalues(single.__matmul__, start(3, torch.float32), 1e-4, 10, True).decidable
