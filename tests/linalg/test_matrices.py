"""Kernel matrices are laid out as they should be, and whatever does not fit is named."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkgap.errors import KernelError
from ntkgap.linalg import as_matrix
from ntkgap.linalg.matrices import array, check_symmetric, coarsest, coarsest_type, gram_matrix, indices

SIZES = st.integers(1, 4)


@settings(max_examples=40, deadline=None)
@given(n1=SIZES, n2=SIZES, c1=SIZES, c2=SIZES, seed=st.integers(0, 10**6))
def test_a_kernel_that_is_a_product_becomes_a_kronecker_product(n1, n2, c1, c2, seed):
    generator = torch.Generator().manual_seed(seed)
    examples, outputs = (torch.randn(shape, generator=generator) for shape in ((n1, n2), (c1, c2)))
    kernel = torch.einsum("ij,ab->ijab", examples, outputs)
    assert torch.equal(as_matrix(kernel), torch.kron(examples, outputs))


def test_the_symmetric_part_is_returned_and_rounding_forgiven(generator):
    root = torch.randn(6, 8, generator=generator)
    gram = root @ root.T
    gram[0, 1] += 5e-6 * gram.abs().max()
    found = check_symmetric(gram)
    assert found.dtype == torch.float64
    assert torch.equal(found, (gram.double() + gram.double().T) / 2)
    with pytest.raises(KernelError, match="not symmetric"):
        check_symmetric(gram.double())
    assert torch.equal(check_symmetric(gram.double(), torch.float32), found)


def test_a_gram_matrix_has_a_name_and_a_size():
    eye = torch.eye(3, dtype=torch.float64)
    assert torch.equal(gram_matrix(eye, "the prior", 3), eye)
    with pytest.raises(KernelError, match=r"the prior must have shape \(4, 4\), got \(3, 3\)"):
        gram_matrix(eye, "the prior", 4)
    with pytest.raises(KernelError, match=r"the prior: a Gram matrix is square"):
        gram_matrix(eye[:2], "the prior")


def test_an_array_that_fits_is_that_array_in_float64(generator):
    values = torch.randn(2, 3, generator=generator)
    for shape in ((2, 3), (None, 3), (2, None), (None, None)):
        found = array(values, "f", shape)
        assert found.dtype == torch.float64
        assert torch.equal(found, values.double())
    assert array(values[:0], "f", (0, 3)).shape == (0, 3)  # where a size is asked for, zero may be


@pytest.mark.parametrize(
    ("values", "shape", "words"),
    [
        (torch.zeros(2), (None, None), r"f must have shape \(any, any\), got \(2,\)"),
        (torch.zeros(2, 3), (3, None), r"f must have shape \(3, any\), got \(2, 3\)"),
        (torch.zeros(2, 3), (None, 2), r"f must have shape \(any, 2\), got \(2, 3\)"),
        (torch.zeros(0, 3), (None, 3), r"f must have shape \(any, 3\), got \(0, 3\)"),
        (torch.zeros(2, 3, dtype=torch.long), (2, 3), r"f must hold floating-point numbers, got torch.int64"),
        (torch.tensor([[1.0, float("inf")]]), (1, 2), r"f has NaN or infinite entries"),
        (torch.tensor([[1.0, float("nan")]]), (1, 2), r"f has NaN or infinite entries"),
    ],
)
def test_an_array_that_does_not_fit_is_named(values, shape, words):
    with pytest.raises(KernelError, match=words):
        array(values, "f", shape)


def test_indices_are_whole_numbers_within_the_array():
    for places in ([0, 2, 2], (0, 2, 2), torch.tensor([0, 2, 2], dtype=torch.uint8)):
        found = indices(places, 3, "seen")
        assert found.dtype == torch.int64
        assert found.tolist() == [0, 2, 2]
    for none in ([], torch.zeros(0), torch.zeros(0, dtype=torch.bool)):
        assert indices(none, 3, "seen").tolist() == []


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ([0, 3], r"got torch.int64 of shape \(2,\) from 0 to 3"),
        ([-1, 1], r"got torch.int64 of shape \(2,\) from -1 to 1"),
        ([[0, 1]], r"got torch.int64 of shape \(1, 2\)"),
        ([0.0, 1.0], r"got torch.float32 of shape \(2,\)$"),
        ([True, False, True], r"got torch.bool of shape \(3,\)$"),
        ([0j], r"got torch.complex64 of shape \(1,\)$"),
        (1, r"got torch.int64 of shape \(\)"),
    ],
    ids=str,
)
def test_indices_of_another_kind_are_named(places, words):
    with pytest.raises(KernelError, match=r"seen must be whole numbers, indices from 0 to 2.*" + words):
        indices(places, 3, "seen")


def test_the_coarsest_type_is_the_one_of_the_largest_unit():
    types = [torch.float64, torch.bfloat16, torch.float16, torch.float32]
    tensors = [torch.zeros(1, dtype=dtype) for dtype in types]
    assert coarsest_type(tensors) == torch.bfloat16  # as short as float16, with fewer digits
    assert coarsest(tensors) == 2**-7
    assert coarsest(tensors[:1]) == 2**-52
