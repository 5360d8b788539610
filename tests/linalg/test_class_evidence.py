"""Laplace's evidence against the space of weights, and its maximum against a fine grid."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkgap.errors import KernelError
from ntkgap.linalg import ClassEvidence
from tests.reference import linear_gaussian
from tests.tolerances import EXACT, ITERATED

VALUE = -3.0


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def in_weights(features, squared_distance, delta):
    """log p(D | θ) + log N(θ; θ_prior, I/δ) + ½P log 2π − ½ log det(JᵀSJ + δI), with RJ the features [r, P]."""
    p = features.shape[1]
    curvature = features.T @ features + delta * torch.eye(p, dtype=torch.float64)
    prior = 0.5 * (p * math.log(delta) - delta * squared_distance)
    return VALUE + prior - 0.5 * float(torch.logdet(curvature))


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (1, 1)], ids=str)
@pytest.mark.parametrize("delta", [1e-3, 1.0, 40.0])
def test_equals_the_approximation_in_the_space_of_weights(shape, delta):
    features = draw(*shape)
    evidence = ClassEvidence(VALUE, torch.linalg.eigvalsh(features @ features.T), 2.5)
    assert evidence.log_evidence(delta) == pytest.approx(in_weights(features, 2.5, delta), rel=EXACT)


@pytest.mark.parametrize("delta", [1e-2, 1.0, 30.0])
def test_is_exact_where_the_likelihood_is_gaussian(delta):
    features, targets, noise = draw(6, 4), draw(6, seed=1), 0.3
    mode, _ = linear_gaussian.posterior(features, targets, delta, noise)
    likelihood = torch.distributions.Normal(features @ mode, noise**0.5).log_prob(targets).sum()
    curvature = torch.linalg.eigvalsh(features @ features.T / noise)
    found = ClassEvidence(float(likelihood), curvature, float(mode.square().sum())).log_evidence(delta)
    assert found == pytest.approx(linear_gaussian.log_marginal(features, targets, delta, noise), rel=ITERATED)


def test_eigenvalues_of_zero_may_be_left_out():
    eigenvalues = torch.tensor([0.0, 0.0, 0.5, 7.0], dtype=torch.float64)
    every, others = ClassEvidence(VALUE, eigenvalues, 1.5), ClassEvidence(VALUE, eigenvalues[2:], 1.5)
    assert every.log_evidence(0.7) == pytest.approx(others.log_evidence(0.7), rel=EXACT)
    assert every.maximum().prior_precision == pytest.approx(others.maximum().prior_precision, rel=ITERATED)
    none = ClassEvidence(VALUE, eigenvalues[:0], 1.5).maximum()
    assert none == ClassEvidence(VALUE, eigenvalues[:2], 1.5).maximum()


@settings(max_examples=60, deadline=None)
@given(
    logarithms=st.lists(st.floats(-8, 8), min_size=1, max_size=6),
    distance=st.floats(-6, 6).map(lambda log: 10**log),
)
def test_the_maximum_is_where_the_slope_vanishes_and_no_grid_finds_more(logarithms, distance):
    eigenvalues = 10 ** torch.tensor(logarithms, dtype=torch.float64)
    evidence = ClassEvidence(VALUE, eigenvalues, distance)
    found = evidence.maximum()
    assert not found.at_edge

    def written_out(delta):
        return VALUE - 0.5 * (delta * distance + sum(math.log1p(k / delta) for k in eigenvalues.tolist()))

    assert found.log_evidence == pytest.approx(written_out(found.prior_precision), rel=EXACT)
    grid = np.geomspace(1e-20, 1e20, 400)
    assert max(map(written_out, grid)) <= found.log_evidence + EXACT * abs(found.log_evidence)
    # To either side of it the evidence falls.
    before, after = (evidence.slope(found.prior_precision * factor) for factor in (1 - 1e-6, 1 + 1e-6))
    assert before > 0 > after


def test_the_slope_is_the_derivative_in_the_logarithm():
    features = draw(5, 3)
    evidence = ClassEvidence(VALUE, torch.linalg.eigvalsh(features @ features.T), 2.0)
    log = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    delta = log.exp()
    eye = torch.eye(5, dtype=torch.float64)
    dense = -0.5 * (delta * 2.0 + torch.logdet(eye + features @ features.T / delta))
    (slope,) = torch.autograd.grad(dense, log)
    assert evidence.slope(math.exp(0.4)) == pytest.approx(float(slope), rel=EXACT)


def test_bounds_hold_and_are_named_as_edges():
    evidence = ClassEvidence(VALUE, torch.tensor([1.0, 3.0, 20.0], dtype=torch.float64), 4.0)
    best = evidence.maximum().prior_precision
    assert evidence.maximum((best / 50, best * 50)).prior_precision == pytest.approx(best, rel=ITERATED)
    assert not evidence.maximum((best / 50, best * 50)).at_edge
    for bounds, end in (((best / 100, best / 10), best / 10), ((10 * best, 100 * best), 10 * best)):
        found = evidence.maximum(bounds)
        assert found.prior_precision == pytest.approx(end, rel=EXACT)
        assert found.at_edge
        assert found.log_evidence == pytest.approx(evidence.log_evidence(end), rel=EXACT)
    # A bound that costs less than a thousandth of a nat might as well be the maximum.
    assert evidence.maximum((best / 1.001, 50 * best)).at_edge


def test_without_a_maximum_it_is_at_the_edge():
    none, some = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    at_the_prior = ClassEvidence(VALUE, some, 0.0).maximum()
    assert at_the_prior.at_edge
    assert at_the_prior.prior_precision == pytest.approx(1e8)  # rises for ever: the prior costs nothing
    unseen = ClassEvidence(VALUE, none, 1.0).maximum()
    assert unseen.at_edge
    assert unseen.prior_precision == pytest.approx(1e-8)  # falls for ever: data decide nothing


NO_BOUNDS = [
    *((0, 1), (-1, 1), (2, 1), (1, 1), (1, math.inf), (math.nan, 1)),
    *((1,), (1, 2, 3), 5.0, ("a", "b"), ((1, 2), (1, 2))),
]


@pytest.mark.parametrize("bounds", NO_BOUNDS, ids=str)
def test_bounds_are_one_pair(bounds):
    evidence = ClassEvidence(VALUE, torch.ones(2, dtype=torch.float64), 1.0)
    with pytest.raises(KernelError, match="bounds of a classifier must be one pair of numbers"):
        evidence.maximum(bounds)
