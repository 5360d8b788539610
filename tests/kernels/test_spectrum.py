import math

import mpmath
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import KernelError
from tests.tolerances import EXACT


def random_gram(n, rank, generator):
    j = torch.randn(n, rank, dtype=torch.float64, generator=generator)
    return j @ j.T


def test_eigenvalues_are_those_of_a_known_matrix(generator):
    kappa = torch.tensor([0.5, 1.0, 3.0, 10.0], dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator))
    s = ng.spectrum(q @ torch.diag(kappa) @ q.T)
    torch.testing.assert_close(s.eigenvalues, kappa, rtol=EXACT, atol=EXACT)
    assert s.positive_definite is True
    assert s.condition_number == pytest.approx(20)
    assert s.noise_floor == pytest.approx(4 * torch.finfo(torch.float64).eps * 10)


def test_a_singular_matrix_is_undecidable_not_positive_and_not_zero(generator):
    s = ng.spectrum(random_gram(20, 5, generator))
    assert s.positive_definite is None
    assert math.isnan(s.condition_number)
    assert abs(s.lambda_min) <= s.noise_floor


def test_the_noise_floor_covers_the_true_error_of_an_ill_conditioned_matrix():
    """The Hilbert matrix in 50 digits: the error of λ_min is below the floor, and λ_min itself is lost."""
    n = 12
    hilbert = torch.tensor([[1 / (i + j + 1) for j in range(n)] for i in range(n)], dtype=torch.float64)
    with mpmath.workdps(50):
        exact = min(mpmath.eigsy(mpmath.matrix(hilbert.tolist()), eigvals_only=True))
    s = ng.spectrum(hilbert)
    assert abs(s.lambda_min - float(exact)) <= s.noise_floor
    assert s.positive_definite is None


def test_a_coarse_computation_raises_the_floor(generator):
    gram = random_gram(8, 8, generator)
    fine = ng.spectrum(gram)
    coarse = ng.spectrum(gram.float().double(), precision=torch.float32)
    ratio = torch.finfo(torch.float32).eps / torch.finfo(torch.float64).eps
    assert coarse.noise_floor == pytest.approx(ratio * fine.noise_floor, rel=1e-5)


def test_effective_rank_of_a_projection_is_its_rank():
    gram = torch.diag(torch.tensor([2.0, 2.0, 2.0, 0.0, 0.0], dtype=torch.float64))
    assert ng.spectrum(gram).effective_rank == pytest.approx(3)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (torch.zeros(3, 3, 2, 2), "as_matrix"),
        (torch.zeros(3, 2), "square"),
        (torch.zeros(0, 0), "square"),
        (torch.eye(3, dtype=torch.long), "floating-point"),
        (torch.full((2, 2), float("nan")), "NaN or infinite"),
        (torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "not symmetric"),
    ],
)
def test_bad_matrices_are_named(matrix, words):
    with pytest.raises(KernelError, match=words):
        ng.spectrum(matrix)
