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


def test_a_singular_matrix_is_inconclusive_not_positive_and_not_zero(generator):
    s = ng.spectrum(random_gram(20, 5, generator))
    assert s.positive_definite is None
    assert math.isnan(s.condition_number)
    assert abs(s.lambda_min) <= s.noise_floor


def hilbert(n):
    return torch.tensor([[1 / (i + j + 1) for j in range(n)] for i in range(n)], dtype=torch.float64)


def exact_lambda_min(matrix):
    with mpmath.workdps(50):
        return float(min(mpmath.eigsy(matrix, eigvals_only=True)))


def exact_gram(j):
    """J Jᵀ in 50 digits, of J as it is stored."""
    with mpmath.workdps(50):
        m = mpmath.matrix(j.double().tolist())
        return m * m.T


def check_against_exact(found, exact):
    """The error is within the floor, a positive verdict is true, and above the floor one is given."""
    assert abs(found.lambda_min - exact) <= found.noise_floor
    if found.positive_definite:
        assert exact > 0
    if exact > 2 * found.noise_floor:
        assert found.positive_definite is True
    if exact <= 0:
        assert found.positive_definite is None


@pytest.mark.parametrize("n", [2, 4, 6, 8, 10, 12, 14])
def test_the_noise_floor_covers_the_error_of_hilbert_matrices(n):
    """Condition numbers from 19 to 10¹⁸."""
    found = ng.spectrum(hilbert(n))
    check_against_exact(found, exact_lambda_min(mpmath.matrix(hilbert(n).tolist())))
    assert found.positive_definite is (True if n <= 10 else None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("columns", [3, 40, 400])
@pytest.mark.parametrize("exponent", [0, 2, 4, 6, 8, 10, 12])
def test_the_noise_floor_covers_the_error_for_near_duplicates(exponent, columns, dtype, generator):
    """J has two rows at a distance of 10^-exponent; what J Jᵀ loses when it is formed is in the error too."""
    j = torch.randn(6, columns, dtype=dtype, generator=generator)
    j[5] = j[1] + 10.0**-exponent * torch.randn(columns, dtype=dtype, generator=generator)
    found = ng.spectrum(j @ j.T)
    exact = exact_lambda_min(exact_gram(j))
    check_against_exact(found, exact)
    if columns == 3 or exponent >= (
        4 if dtype is torch.float32 else 8
    ):  # more rows than columns, or nearly equal ones
        assert found.positive_definite is None


@pytest.mark.parametrize("terms", [10**3, 10**4, 10**5, 10**6])
def test_the_noise_floor_covers_the_error_of_long_sums(terms, generator):
    """Two equal rows in float32: λ_min is 0, but rounding of long sums may lift it far above nεκ_max."""
    j = torch.randn(3, terms, generator=generator)
    j = torch.cat([j, j[:1]])
    found = ng.spectrum(j @ j.T, terms=terms)
    exact = torch.linalg.eigvalsh(j.double() @ j.double().T)  # off by as much as 10⁻⁹ of what is tested
    assert ((found.eigenvalues - exact).abs() <= found.noise_floor).all()
    assert found.positive_definite is None


def test_the_number_of_terms_is_checked():
    with pytest.raises(KernelError, match=r"terms must be an integer of at least 1, got 0"):
        ng.spectrum(torch.eye(2), terms=0)


def test_the_noise_floor_of_graded_rows(generator):
    """Rows of sizes from 1 to 10⁻¹⁰: small eigenvalues are lost next to the large ones, and that is said."""
    for smallest in (2, 4, 6, 8, 10):
        j = torch.randn(5, 20, dtype=torch.float64, generator=generator)
        j *= torch.logspace(0, -smallest, 5, dtype=torch.float64)[:, None]
        found = ng.spectrum(j @ j.T)
        check_against_exact(found, exact_lambda_min(exact_gram(j)))
        assert found.positive_definite is (True if smallest <= 6 else None)


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


def test_it_shows_what_was_decided():
    shown = repr(ng.spectrum(torch.diag(torch.tensor([4.0, 0.0], dtype=torch.float64))))
    assert shown == "Spectrum(n=2, lambda_min=0, noise_floor=1.776e-15, positive_definite=None, lambda_max=4)"
