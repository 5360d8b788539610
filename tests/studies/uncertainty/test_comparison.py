"""Ensembles of known truth beside a predicted Gaussian: draws from it pass, others are found out."""

import math

import pytest
import torch

from ntkgap.linalg import Gaussian
from ntkgap.studies.findings import Findings
from ntkgap.studies.uncertainty.ensembles.comparison import Comparison, bias, worst

POINTS, STEPS, MEMBERS = 6, 2, 300


@pytest.fixture(scope="module")
def predicted():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(STEPS, POINTS, 3, generator=generator, dtype=torch.float64)
    mean = torch.randn(STEPS, POINTS, 1, generator=generator, dtype=torch.float64)
    return Gaussian(mean, root @ root.mT)


@pytest.fixture(scope="module")
def comparison(predicted):
    return Comparison.of(predicted, MEMBERS, torch.Generator().manual_seed(1))


def found(comparison, outputs):
    findings = Findings()
    comparison.record(outputs, findings)
    return findings.scalars


def test_draws_from_the_prediction_pass_as_often_as_they_should(comparison, predicted):
    generator = torch.Generator().manual_seed(2)
    ensembles = [found(comparison, predicted.draw(MEMBERS, generator)) for _ in range(60)]
    for name, floor in (("draw", 1.0), ("z_ratio", 1.0)):
        beyond = sum(e[f"ensemble_{name}"] >= floor for e in ensembles)
        assert beyond <= 9  # 3 of 60 expected; ten or more come once in a thousand times
    # Draws have no bias: as a rule nothing is seen above what so many members resolve.
    for name in ("mean", "covariance"):
        floor, chance = (float(getattr(part, name)[-1]) for part in (comparison.floor, comparison.chance))
        resolution = math.sqrt(floor**2 - chance**2)
        seen = sum(e[f"ensemble_{name}_bias"] > 1.001 * resolution for e in ensembles)
        assert seen <= 9


def test_a_bias_is_measured_and_told(comparison, predicted):
    """A shift and a stretch of known size: members 1.3 times as far apart have 1.69 times the covariance."""
    draws = predicted.draw(MEMBERS, torch.Generator().manual_seed(3))
    size = (predicted.mean.square().sum(dim=(1, 2)) + predicted.variance.sum(dim=1)).sqrt()
    shift = 0.2 * size[:, None, None] / math.sqrt(POINTS)
    scalars = found(comparison, predicted.mean + shift + 1.3 * (draws - predicted.mean))
    assert scalars["ensemble_mean_bias"] == pytest.approx(0.2, rel=0.2)
    assert scalars["ensemble_covariance_bias"] == pytest.approx(0.69, rel=0.25)
    assert scalars["ensemble_early"] == pytest.approx(0.69 / 0.25, rel=0.25)
    assert scalars["ensemble_draw"] > 1
    assert scalars["ensemble_z_ratio"] > 1


def test_few_members_decide_nothing_that_chance_can_hide(predicted):
    few = Comparison.of(predicted, 4, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(4)
    ensembles = [found(few, predicted.draw(4, generator))["ensemble_covariance_bias"] for _ in range(10)]
    assert sum(math.isnan(e) for e in ensembles) >= 8


def test_bias_by_hand():
    assert bias(0.5, 0.3, 0.35, 0.1) == pytest.approx(0.4)
    hidden = math.sqrt(0.31**2 - 0.3**2)  # 0.08: a bias of 0.1 would show
    assert bias(0.2, 0.3, 0.31, 0.1) == pytest.approx(hidden)
    assert math.isnan(bias(0.3, 0.3, 0.35, 0.1))  # up to 0.18 may hide
    assert bias(math.inf, 0.3, 0.35, 0.1) == math.inf


def test_the_worst_of_several_is_decided_where_one_refutes():
    assert worst([0.2, 0.7]) == 0.7
    assert worst([math.nan, 1.7]) == 1.7
    assert math.isnan(worst([math.nan, 0.7]))


def test_an_ensemble_that_diverged_is_infinitely_far(comparison):
    scalars = found(comparison, None)
    assert scalars["ensemble_wasserstein"] == scalars["ensemble_draw"] == scalars["ensemble_early"] == math.inf
