"""Class probabilities under Gaussian outputs: against quadrature, Dirichlet moments and draws."""

import math

import pytest
import torch
from torch.nn import functional as F

from ntkgap.errors import KernelError
from ntkgap.linalg.class_probabilities import as_two_classes, class_probabilities
from tests.tolerances import EXACT

SAMPLES = 100_000
CHANCE = 5 * 0.5 / SAMPLES**0.5


def outputs(k=5, c=4, size=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(k, c, dtype=torch.float64, generator=generator)
    root = torch.randn(k, c, c, dtype=torch.float64, generator=generator)
    return mean, size * root @ root.mT / c


def by_quadrature(mean, variance):
    """E 1/(1 + e^{−f}) by Gauss–Hermite quadrature."""
    x, w = torch.as_tensor(torch.linspace(-12, 12, 20_001, dtype=torch.float64)), 24 / 20_000
    density = torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return (torch.sigmoid(mean + variance**0.5 * x) * density).sum() * w


def test_draws_are_right_up_to_chance():
    for m, v in ((0.5, 1.0), (-2.0, 4.0), (1.0, 0.01)):
        mean, covariance = torch.tensor([[m]]).double(), torch.tensor([[[v]]]).double()
        p = class_probabilities(*as_two_classes(mean, covariance), "monte_carlo", samples=SAMPLES)
        assert float(p[0, 1]) == pytest.approx(float(by_quadrature(m, v)), abs=CHANCE)


def test_probit_is_near_the_integral_for_two_classes():
    """MacKay's approximation is within 0.02 for any mean and variance."""
    for m in (-4.0, -1.0, 0.0, 0.3, 2.0):
        for v in (0.1, 1.0, 10.0, 100.0):
            mean, covariance = torch.tensor([[m]]).double(), torch.tensor([[[v]]]).double()
            p = class_probabilities(*as_two_classes(mean, covariance))
            assert float(p[0, 1]) == pytest.approx(float(by_quadrature(m, v)), abs=0.02)
            assert float(p[0, 1]) == pytest.approx(1 / (1 + math.exp(-m / math.sqrt(1 + math.pi * v / 8))))


def dirichlet_in_softmax_basis(alpha):
    """Moments of Laplace's approximation of a Dirichlet distribution (MacKay 1998), written out."""
    c = len(alpha)
    mean = alpha.log() - alpha.log().mean()
    inverse = 1 / alpha
    shared = inverse[:, None] + inverse[None, :] - inverse.mean()
    return mean, torch.diag(inverse) - shared / c


def test_the_bridge_leads_back_to_the_dirichlet():
    for alpha in ([1.0, 2.0, 3.0], [0.5, 7.0, 0.9, 20.0], [3.0, 4.0]):
        alpha = torch.tensor(alpha, dtype=torch.float64)
        mean, covariance = dirichlet_in_softmax_basis(alpha)
        p = class_probabilities(mean[None], covariance[None], "bridge")[0]
        torch.testing.assert_close(p, alpha / alpha.sum(), rtol=EXACT, atol=0)
        # What the softmax does not see changes nothing.
        ones = torch.ones(len(alpha), 1, dtype=torch.float64)
        tilt = torch.randn(len(alpha), 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        shifted = covariance + tilt @ ones.T + ones @ tilt.T + 9 * ones @ ones.T
        again = class_probabilities(mean[None] + 3, shifted[None], "bridge")[0]
        torch.testing.assert_close(again, p, rtol=1e-8, atol=0)
    # The Gaussian of a concentrated Dirichlet is nearly the Dirichlet: so says Monte Carlo.
    alpha = torch.tensor([30.0, 60.0, 90.0], dtype=torch.float64)
    mean, covariance = dirichlet_in_softmax_basis(alpha)
    drawn = class_probabilities(mean[None], covariance[None], "monte_carlo", samples=SAMPLES)[0]
    torch.testing.assert_close(drawn, alpha / alpha.sum(), rtol=0, atol=0.005)


@pytest.mark.parametrize("method", ["probit", "monte_carlo", "bridge"])
def test_rows_are_probabilities_however_sure_the_network(method):
    for size in (1.0, 1e-12, 0.0, 1e6):
        mean, covariance = outputs(size=size)
        for scale in (1.0, 1e4):
            p = class_probabilities(scale * mean, covariance, method, samples=10)
            assert p.isfinite().all()
            torch.testing.assert_close(p.sum(1), torch.ones(5, dtype=torch.float64))
    certain = class_probabilities(mean, 0 * covariance, "probit")
    torch.testing.assert_close(certain, F.softmax(mean, dim=1), rtol=EXACT, atol=0)


def test_bad_input_is_refused():
    mean, covariance = outputs()
    for words, call in (
        ("unknown method", lambda: class_probabilities(mean, covariance, "mean_field")),
        ("two or more classes", lambda: class_probabilities(mean[:, :1], covariance[:, :1, :1])),
        ("two or more classes", lambda: class_probabilities(mean, covariance[0])),
        ("samples", lambda: class_probabilities(mean, covariance, "monte_carlo", samples=0)),
        ("positive semidefinite", lambda: class_probabilities(mean, -covariance, "monte_carlo")),
    ):
        with pytest.raises(KernelError, match=words):
            call()
