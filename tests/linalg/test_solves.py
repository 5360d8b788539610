import warnings

import pytest
import torch

from ntkgap.errors import JitterWarning, KernelError
from ntkgap.linalg import positive_factor
from tests.tolerances import EXACT, ITERATED


@pytest.fixture
def matrix(generator):
    root = torch.randn(6, 9, dtype=torch.float64, generator=generator)
    return root @ root.T


def test_a_positive_definite_matrix_is_left_as_it_is(matrix, generator):
    right = torch.randn(6, 2, dtype=torch.float64, generator=generator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        factor = positive_factor(matrix)
    assert factor.jitter == 0
    solution = factor.solve(right)
    torch.testing.assert_close(matrix @ solution, right, rtol=EXACT, atol=EXACT)
    half = factor.half_solve(right)
    torch.testing.assert_close(half.T @ half, right.T @ solution, rtol=EXACT, atol=EXACT)
    assert factor.log_determinant() == pytest.approx(torch.logdet(matrix).item(), rel=EXACT)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_singular_matrix_gets_the_smallest_jitter_that_works(matrix, scale):
    singular = scale * matrix
    singular[3], singular[:, 3] = singular[2].clone(), singular[:, 2].clone()
    singular[3, 3] = singular[2, 2]
    with pytest.warns(JitterWarning, match=r"the kernel is not positive definite .*λ_min = .*buy more data"):
        factor = positive_factor(singular, "the kernel", "buy more data")
    mean = singular.diagonal().mean().item()
    smallest = 10 * 6 * torch.finfo(torch.float64).eps * mean
    steps = torch.log10(torch.tensor(factor.jitter / smallest)).item()
    assert steps == pytest.approx(round(steps), abs=1e-6)
    assert 0 <= steps <= 1
    jittered = singular + factor.jitter * torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(factor.lower @ factor.lower.T, jittered, rtol=ITERATED, atol=EXACT * mean)


def test_an_indefinite_matrix_gets_more_as_far_as_the_limit(matrix):
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    mean = eigenvalues.mean().item()

    def with_least(value):
        shifted = eigenvalues.clone()
        shifted[0] = value * mean
        made = vectors @ torch.diag(shifted) @ vectors.T
        return (made + made.T) / 2

    with pytest.warns(JitterWarning, match=r"λ_min = -"):
        factor = positive_factor(with_least(-1e-9))
    assert 1e-9 * mean < factor.jitter < 1e-8 * mean * 2
    with pytest.raises(KernelError, match=r"the prior is not positive definite.*1e-06.*; raise the noise"):
        positive_factor(with_least(-1e-3), "the prior", "raise the noise")


@pytest.mark.parametrize("size", [5, 60])
def test_a_factor_of_rounding_alone_is_no_success(size, generator):
    """Cholesky of a rank-deficient matrix runs through or not by chance; the outcome must not depend on it."""
    for _ in range(30):
        root = torch.randn(size, size - 1, dtype=torch.float64, generator=generator)
        with pytest.warns(JitterWarning):
            assert positive_factor(root @ root.T).jitter > 0


def test_single_precision_entries_are_known_to_be_coarse(generator):
    root = torch.randn(5, 4, generator=generator)
    gram = root @ root.T
    with pytest.warns(JitterWarning):
        factor = positive_factor(gram)
    assert factor.lower.dtype == torch.float64
    assert factor.jitter >= torch.finfo(torch.float32).eps * gram.diagonal().mean().item()


def test_bad_matrices_are_named(matrix):
    with pytest.raises(KernelError, match=r"the prior: a Gram matrix is square"):
        positive_factor(matrix[:4], "the prior")
    with pytest.raises(KernelError, match=r"the prior: the matrix is not symmetric"):
        positive_factor(matrix + torch.triu(matrix), "the prior")
    with pytest.raises(KernelError, match=r"the prior: .*NaN"):
        positive_factor(matrix * float("nan"), "the prior")
    with pytest.raises(KernelError, match=r"not positive definite"):
        positive_factor(-matrix)
