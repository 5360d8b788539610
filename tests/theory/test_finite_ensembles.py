import math

import pytest
import torch

from ntkgap.errors import KernelError
from ntkgap.linalg import Gaussian
from ntkgap.theory import ensemble_errors, ensemble_floor
from tests.tolerances import EXACT


@pytest.fixture
def predicted(generator):
    """Two times, three points, two outputs."""
    root = torch.randn(2, 3, 3, dtype=torch.float64, generator=generator)
    mean = torch.randn(2, 3, 2, dtype=torch.float64, generator=generator)
    return Gaussian(mean, root @ root.mT)


def test_draws_have_the_moments_of_the_gaussian(predicted, generator):
    """Sample moments of N draws are off by about 1/√N; five standard deviations are allowed."""
    count = 40_000
    drawn = predicted.draw(count, generator)
    assert drawn.shape == (count, 2, 3, 2)
    mean = drawn.mean(dim=0)
    allowed = 5 * (predicted.variance[..., None] / count).sqrt()
    assert ((mean - predicted.mean).abs() < allowed).all()
    centered = drawn - predicted.mean
    for c in range(2):
        found = torch.einsum("mti,mtj->tij", centered[..., c], centered[..., c]) / count
        size = (predicted.variance[:, :, None] * predicted.variance[:, None, :] + predicted.covariance**2).sqrt()
        assert ((found - predicted.covariance).abs() < 5 * size / math.sqrt(count)).all()
    across = torch.einsum("mti,mtj->tij", centered[..., 0], centered[..., 1]) / count
    size = (predicted.variance[:, :, None] * predicted.variance[:, None, :]).sqrt()
    assert (across.abs() < 5 * size / math.sqrt(count)).all()


def test_a_singular_covariance_can_be_drawn_from(generator):
    fitted = Gaussian(torch.ones(2, 1).double(), torch.diag(torch.tensor([1.0, 0.0]).double()))
    assert (fitted.draw(5, generator)[:, 1] == 1).all()


def test_exact_moments_have_no_error(predicted, generator):
    """Members whitened to have exactly the predicted moments."""
    members = torch.randn(50, 2, 3, 1, dtype=torch.float64, generator=generator)
    members -= members.mean(dim=0)
    sample = torch.einsum("mtic,mtjc->tij", members, members) / 49
    whitening = torch.linalg.cholesky(predicted.covariance) @ torch.linalg.inv(torch.linalg.cholesky(sample))
    exact = Gaussian(predicted.mean[..., :1], predicted.covariance)
    errors = ensemble_errors(exact.mean + whitening @ members, exact)
    assert errors.mean.max() < EXACT
    assert errors.covariance.max() < EXACT


def test_the_errors_are_relative_to_a_member_and_to_the_covariance(predicted):
    """Members all at the mean plus d: the mean is off by d, the covariance by all of itself."""
    shift = 0.1 * torch.ones_like(predicted.mean)
    errors = ensemble_errors((predicted.mean + shift).expand(4, -1, -1, -1), predicted)
    size = (predicted.mean.square().sum(dim=(1, 2)) + 2 * predicted.variance.sum(dim=1)).sqrt()
    torch.testing.assert_close(errors.mean, 0.1 * math.sqrt(6) / size, rtol=EXACT, atol=0)
    torch.testing.assert_close(errors.covariance, torch.ones(2).double(), rtol=EXACT, atol=0)


@pytest.mark.parametrize("members", [5, 40])
def test_the_floor_has_the_expected_size(predicted, members, generator):
    """E‖m̂ − m‖² = C tr V/M and E‖V̂ − V‖² = ((tr V)² + ‖V‖²)/(C(M − 1)) for the covariance of a Gaussian."""
    repeats = 1500
    floor = ensemble_floor(predicted, members, repeats, generator)
    assert floor.mean.shape == floor.covariance.shape == (repeats, 2)
    trace, norm = predicted.variance.sum(dim=1), torch.linalg.matrix_norm(predicted.covariance)
    size = predicted.mean.square().sum(dim=(1, 2)) + 2 * trace
    for found, expected in (
        (floor.mean.square(), 2 * trace / members / size),
        (floor.covariance.square(), (trace**2 + norm**2) / (2 * (members - 1)) / norm**2),
    ):
        standard_error = found.std(dim=0) / math.sqrt(repeats)
        assert ((found.mean(dim=0) - expected).abs() < 5 * standard_error).all()


def test_bad_input_is_named(predicted):
    with pytest.raises(KernelError, match=r"outputs must have shape \(M, 2, 3, 2\) with M ≥ 2"):
        ensemble_errors(torch.zeros(4, 3, 2), predicted)
    with pytest.raises(KernelError, match=r"M ≥ 2"):
        ensemble_errors(predicted.mean[None], predicted)
    with pytest.raises(KernelError, match=r"members must be at least 2"):
        ensemble_floor(predicted, 1)


def test_draws_are_root_times_noise(predicted):
    drawn = predicted.draw(5, torch.Generator().manual_seed(3))
    noise = torch.randn(5, 2, 3, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(drawn, predicted.mean + predicted.root @ noise, rtol=EXACT, atol=EXACT)
