"""Conjugate gradients beside dense solves; they say where there is no solution, whatever rounding makes of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkgap.errors import KernelError
from ntkgap.linalg.conjugate_gradients import nystrom_preconditioner, solve_damped
from tests.linalg.operators import Dense, random_gram, with_eigenvalues
from tests.tolerances import EXACT


class RankOne:
    """K = j jᵀ of four equal rows, as of four copies of an example."""

    dtype, device, shape = torch.float64, torch.device("cpu"), (4, 4)

    def __init__(self, generator):
        self.j = torch.randn(1, 4, dtype=torch.float64, generator=generator).repeat(4, 1)

    def __matmul__(self, v):
        return self.j @ (self.j.T @ v)


def test_a_singular_system_without_a_solution_is_refused():
    # Of every hundred of these the residual that is carried along vanishes in two or three, by rounding alone.
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        operator, b = RankOne(generator), torch.randn(4, dtype=torch.float64, generator=generator)
        with pytest.raises(KernelError, match="raise damping"):
            solve_damped(operator, b, 0.0, 1.5e-8, 100, None)
    x = solve_damped(operator, b, 1e-3, 1e-12, 100, None)
    torch.testing.assert_close(operator @ x + 1e-3 * x, b, rtol=EXACT, atol=EXACT)


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(1, 12),
    rank=st.integers(0, 12),
    damping=st.floats(-3, 2).map(lambda log: 10**log),
    of_preconditioner=st.integers(0, 12),
    seed=st.integers(0, 10**6),
)
def test_a_solution_solves_whatever_the_preconditioner(size, rank, damping, of_preconditioner, seed):
    operator = Dense(random_gram(size, rank, seed))
    b = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    wanted = min(of_preconditioner, size)
    precondition = nystrom_preconditioner(operator, damping, wanted) if wanted else None
    x = solve_damped(operator, b, damping, 1e-11, 200, precondition)
    left = operator.matrix @ x + damping * x
    assert float((left - b).norm()) <= EXACT * float(b.norm())


def test_the_preconditioner_is_the_inverse_of_what_it_has_seen():
    """Of rank r at most as many as it was given directions for: P⁻¹ is (K + damping·I)⁻¹ up to scale."""
    operator, damping = Dense(random_gram(10, 3)), 0.2
    precondition = nystrom_preconditioner(operator, damping, 5)
    made = torch.stack([precondition(column) for column in torch.eye(10, dtype=torch.float64)], 1)
    inverse = torch.linalg.inv(operator.matrix + damping * torch.eye(10, dtype=torch.float64))
    torch.testing.assert_close(made, damping * inverse, rtol=0, atol=1e-6)  # a shift of √ε of ‖K‖


def test_the_preconditioner_saves_products():
    eigenvalues = torch.cat([torch.logspace(0, 6, 20), torch.full((80,), 1e-3)])
    plain, helped = (Dense(with_eigenvalues(eigenvalues)) for _ in range(2))
    b = torch.randn(100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    precondition = nystrom_preconditioner(helped, 1e-2, 30)
    first = solve_damped(plain, b, 1e-2, 1e-8, 1000, None)
    second = solve_damped(helped, b, 1e-2, 1e-8, 1000, precondition)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)  # the residual, over a damping of 0.01
    assert helped.products < 0.7 * plain.products


def test_a_zero_operator_needs_no_preconditioner():
    zero, r = Dense(torch.zeros(4, 4, dtype=torch.float64)), torch.arange(4.0)
    assert nystrom_preconditioner(zero, 0.1, 2)(r) is r
