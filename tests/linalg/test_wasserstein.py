import math

import numpy as np
import pytest
import scipy.linalg
import torch

from ntkgap.errors import KernelError
from ntkgap.linalg import Gaussian, gaussian_wasserstein
from tests.tolerances import EXACT


def gaussian(k, c, seed, rank=None, leading=()):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(*leading, k, rank or k, generator=generator, dtype=torch.float64)
    return Gaussian(torch.randn(*leading, k, c, generator=generator, dtype=torch.float64), root @ root.mT)


def by_scipy(a, b):
    """The formula with matrix square roots, written down as in the literature."""
    first, second = a.covariance.numpy(), b.covariance.numpy()
    half = scipy.linalg.sqrtm(first)
    cross = scipy.linalg.sqrtm(half @ second @ half).real
    outputs = a.mean.shape[-1]
    return math.sqrt(float((a.mean - b.mean).square().sum()) + outputs * np.trace(first + second - 2 * cross).real)


@pytest.mark.parametrize("outputs", [1, 3])
def test_equals_the_formula_with_matrix_square_roots(outputs):
    a, b = gaussian(5, outputs, 0), gaussian(5, outputs, 1)
    assert float(gaussian_wasserstein(a, b)) == pytest.approx(by_scipy(a, b), rel=EXACT)
    assert float(gaussian_wasserstein(b, a)) == pytest.approx(by_scipy(a, b), rel=EXACT)


def test_in_one_dimension_it_is_the_distance_of_means_and_deviations():
    a = Gaussian(torch.tensor([[1.0]]).double(), torch.tensor([[4.0]]).double())
    b = Gaussian(torch.tensor([[4.0]]).double(), torch.tensor([[36.0]]).double())
    assert float(gaussian_wasserstein(a, b)) == pytest.approx(5.0, rel=EXACT)  # √(3² + (6 − 2)²)


def test_a_point_is_as_far_as_all_mass_must_be_carried():
    a = gaussian(4, 1, 2)
    point = Gaussian(a.mean, torch.zeros_like(a.covariance))
    expected = math.sqrt(float(a.variance.sum()))
    assert float(gaussian_wasserstein(a, point)) == pytest.approx(expected, rel=EXACT)
    assert float(gaussian_wasserstein(point, a)) == pytest.approx(expected, rel=EXACT)


def test_nothing_lies_between_a_gaussian_and_itself_even_a_singular_one():
    for a in (gaussian(6, 2, 3), gaussian(6, 2, 3, rank=2)):
        # A difference of equal numbers, and then a square root.
        assert float(gaussian_wasserstein(a, a)) < 1e-6 * float(a.variance.sum().sqrt())


def test_times_are_compared_one_by_one():
    a, b = gaussian(4, 2, 4, leading=(3,)), gaussian(4, 2, 5, leading=(3,))
    found = gaussian_wasserstein(a, b)
    assert found.shape == (3,)
    for i in range(3):
        one = gaussian_wasserstein(Gaussian(a.mean[i], a.covariance[i]), Gaussian(b.mean[i], b.covariance[i]))
        assert float(found[i]) == pytest.approx(float(one), rel=EXACT)


def test_other_points_are_refused():
    with pytest.raises(KernelError, match="the same points and outputs"):
        gaussian_wasserstein(gaussian(4, 1, 0), gaussian(5, 1, 0))
