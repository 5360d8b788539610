import pytest
import torch

import ntkgap as ng
from ntkgap.errors import DataError, KernelError
from ntkgap.linalg import describe_rows, duplicate_inputs, equal_rows, parallel_rows


def test_equal_inputs_are_grouped(generator):
    x = torch.randn(8, 2, 3, generator=generator)
    assert duplicate_inputs(x) == []
    x[5] = x[1]
    x[7] = x[1]
    x[6] = x[0]
    assert duplicate_inputs(x) == [[0, 6], [1, 5, 7]]


def test_the_tolerance_is_a_distance_that_holds_far_below_the_square_root_of_rounding(generator):
    x = 1e3 * torch.randn(4, 5, dtype=torch.float64, generator=generator)
    x[3] = x[2]
    x[3, 0] += 1e-9
    assert duplicate_inputs(x) == []
    gap = float((x[3] - x[2]).norm())
    assert duplicate_inputs(x, tolerance=0.99 * gap) == []
    assert duplicate_inputs(x, tolerance=1.01 * gap) == [[2, 3]]


@pytest.mark.parametrize(("x", "tolerance", "words"), [((0, 3), 0.0, "at least one"), ((2, 3), -1.0, "tolerance")])
def test_bad_inputs_are_named(x, tolerance, words):
    with pytest.raises(DataError, match=words):
        duplicate_inputs(torch.zeros(x), tolerance=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parallel_rows_of_a_gram_matrix(dtype, generator):
    j = torch.randn(9, 40, dtype=dtype, generator=generator)
    assert parallel_rows(j @ j.T) == []
    j[4] = j[1]
    j[6] = -2.5 * j[1]
    j[7] = 0.1 * j[0]
    j[8] = 0
    assert parallel_rows(j @ j.T) == [[0, 7], [1, 4, 6], [8]]


def test_a_pair_is_to_blame_exactly_where_its_own_eigenvalue_is_below_the_floor(generator):
    """The block's eigenvalue from the Jacobian's singular values, which the squares have not spoilt."""
    for exponent in range(4, 12):
        j = torch.randn(6, 20, dtype=torch.float64, generator=generator)
        j[5] = j[2] + 10.0**-exponent * torch.randn(20, dtype=torch.float64, generator=generator)
        gram = j @ j.T
        found = ng.spectrum(gram)
        block = float(torch.linalg.svdvals(j[[2, 5]])[-1] ** 2)
        if not 0.1 < block / found.noise_floor < 10:  # neither can be told in between
            assert parallel_rows(gram) == ([[2, 5]] if block < found.noise_floor else [])
        assert found.positive_definite is None or parallel_rows(gram) == []


def test_dependence_of_three_rows_is_not_blamed_on_a_pair(generator):
    j = torch.randn(3, 2, dtype=torch.float64, generator=generator)
    assert ng.spectrum(j @ j.T).positive_definite is None
    assert parallel_rows(j @ j.T) == []


def test_rows_of_a_network_with_several_outputs(generator):
    x = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    x[3] = x[1]
    gram = ng.as_matrix(ng.empirical_ntk(ng.MLP(3, 2, 16, 1, "tanh", generator=generator).double(), x))
    assert duplicate_inputs(x) == [[1, 3]]
    assert parallel_rows(gram) == [[2, 6], [3, 7]]  # row i·C + a


def test_a_matrix_of_zeros_and_a_matrix_that_is_none():
    assert parallel_rows(torch.zeros(2, 2)) == [[0], [1]]
    with pytest.raises(KernelError, match="square"):
        parallel_rows(torch.zeros(2, 3))


def test_the_words():
    assert describe_rows([[0, 4], [2, 5, 9]]) == "0 = 4, 2 = 5 = 9"
    assert describe_rows([[i, i + 1] for i in range(0, 10, 2)]) == "0 = 1, 2 = 3, 4 = 5 and 2 more groups"
    assert describe_rows([list(range(8))]) == "0 = 1 = 2 = 3 = … = 7"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_equal_where_inputs_repeat_and_not_where_they_are_close(dtype):
    x = torch.linspace(-1, 1, 60, dtype=torch.float64)[:, None]
    network = ng.MLP(1, 1, width=8, depth=3, bias_std=0.1)
    x[[20, 41]], x[9] = x[5].clone(), x[8].clone()
    gram = ng.infinite_width(network.to(dtype)).ntk(x.to(dtype))
    assert equal_rows(gram) == [[5, 20, 41], [8, 9]]
    assert equal_rows(gram.double(), torch.float32)[0] == [5, 20, 41]
    x = torch.linspace(-1, 1, 300, dtype=torch.float64)[:, None]
    assert equal_rows(ng.infinite_width(network.to(dtype)).ntk(x.to(dtype))) == []


def test_small_matrices_have_equal_rows_where_all_entries_are():
    ones = torch.ones(2, 2, dtype=torch.float64)
    assert equal_rows(ones) == [[0, 1]]
    assert equal_rows(ones + torch.eye(2)) == []
    assert equal_rows(ones[:1, :1]) == []
    assert equal_rows(torch.zeros(3, 3)) == [[0, 1, 2]]
