"""Scores against closed forms, hand calculations, and draws from the prediction itself."""

import math

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import DataError
from tests.tolerances import EXACT


def test_crps_of_a_gaussian_at_its_mean():
    found = ng.practice.calibration(torch.zeros(3, 2), 2.0 * torch.ones(3, 2), torch.zeros(3, 2))
    assert found.crps == pytest.approx(2.0 * (math.sqrt(2) - 1) / math.sqrt(math.pi), rel=EXACT)
    assert found.nll == pytest.approx(math.log(2.0) + 0.5 * math.log(2 * math.pi), rel=EXACT)
    assert found.rmse == 0


def test_crps_by_its_integral():
    y, mu, sigma = 1.3, 0.2, 0.7
    grid = np.linspace(mu - 12 * sigma, mu + 12 * sigma, 400_001)
    cdf = torch.distributions.Normal(mu, sigma).cdf(torch.tensor(grid)).numpy()
    integral = np.trapezoid((cdf - (grid >= y)) ** 2, grid)
    assert ng.practice.calibration([mu], [sigma], [y]).crps == pytest.approx(
        integral, rel=1e-4
    )  # the step's own grid error


def test_interval_score_by_hand():
    """Interval [-z, z]: 0 lies inside, z + 1 above by 1, which costs 2/(1 − level) = 20 at 90 %."""
    z = 1.6448536269514722
    found = ng.practice.calibration([0.0, 0.0], [1.0, 1.0], [0.0, z + 1], level=0.9)
    assert found.interval_score == pytest.approx(2 * z + 20 / 2, rel=EXACT)
    assert found.coverage == 0.5
    assert found.width == pytest.approx(2 * z, rel=EXACT)
    assert found.rmse == pytest.approx((z + 1) / math.sqrt(2), rel=EXACT)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_exact_draws_are_covered(level, generator):
    n = 10_000
    mean, std = torch.randn(n, generator=generator), torch.rand(n, generator=generator) + 0.1
    y = mean + std * torch.randn(n, generator=generator)
    found = ng.practice.calibration(mean, std, y, level)
    error = math.sqrt(level * (1 - level) / n)
    assert abs(found.coverage - level) < 4 * error
    for wrong in (0.5, 2.0):  # too narrow, too wide: both are seen
        worse = ng.practice.calibration(mean, wrong * std, y, level)
        assert abs(worse.coverage - level) > 4 * error
        assert worse.nll > found.nll
        assert worse.crps > found.crps
        assert worse.interval_score > found.interval_score


def test_one_deviation_for_all():
    y = torch.tensor([[0.5], [1.0]], dtype=torch.float64)
    assert ng.practice.calibration(0 * y, 0.3, y) == ng.practice.calibration(0 * y, 0.3 * torch.ones_like(y), y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], [0.0], [0.0]), "positive"),
        (([float("nan")], [1.0], [0.0]), "NaN"),
        (([0.0], [1.0], [float("inf")]), "infinite"),
        (([0.0, 1.0], [1.0, 1.0], [0.0]), "same"),
        ((torch.zeros(2, 1), torch.ones(2), torch.zeros(2, 1)), "same"),
        (([], [], []), "empty"),
        (([0.0], [1.0], [0.0], 1.0), "level"),
    ],
)
def test_bad_predictions_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        ng.practice.calibration(*arguments)


def test_class_scores_by_hand():
    p = torch.tensor([[0.8, 0.2], [0.7, 0.3], [0.4, 0.6]], dtype=torch.float64)
    found = ng.practice.classification_calibration(p, torch.tensor([0, 1, 1]), bins=2)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.brier == pytest.approx((2 * 0.2**2 + 2 * 0.7**2 + 2 * 0.4**2) / 3, rel=EXACT)
    assert found.nll == pytest.approx(-(math.log(0.8) + math.log(0.3) + math.log(0.6)) / 3, rel=EXACT)
    assert found.ece == pytest.approx(abs(2 / 3 - 2.1 / 3), rel=EXACT)  # all confidences in (½, 1]
    fine = ng.practice.classification_calibration(p, torch.tensor([0, 1, 1]), bins=10)
    assert fine.ece == pytest.approx((0.2 + 0.7 + 0.4) / 3, rel=EXACT)  # each alone


def test_bins_hold_their_upper_ends():
    """0.5 belongs to (0, ½], 0.9 to (½, 1]: the miss and the hit do not make up for each other."""
    found = ng.practice.classification_calibration([[0.5, 0.4, 0.1], [0.9, 0.1, 0]], [1, 0], bins=2)
    assert found.ece == pytest.approx((0.5 + 0.1) / 2, rel=EXACT)


def test_labels_may_be_one_hot():
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    labels = torch.tensor([0, 0])
    assert ng.practice.classification_calibration(p, labels) == ng.practice.classification_calibration(
        p, torch.eye(2)[labels]
    )


def test_calibrated_classes_have_little_error(generator):
    n = 20_000
    p = torch.softmax(2 * torch.randn(n, 4, dtype=torch.float64, generator=generator), dim=1)
    labels = torch.multinomial(p, 1, generator=generator)[:, 0]
    honest = ng.practice.classification_calibration(p, labels)
    sharpened = ng.practice.classification_calibration(p**3 / (p**3).sum(dim=1, keepdim=True), labels)
    # Every bin's gap has a standard error of at most ½/√count: Σ √count/2n ≤ √(bins/n)/2.
    assert honest.ece < 2 * 0.5 * math.sqrt(15 / n) < sharpened.ece
    assert sharpened.nll > honest.nll
    assert sharpened.brier > honest.brier


def test_impossible_truth_costs_infinitely_much():
    assert ng.practice.classification_calibration([[1.0, 0.0]], [1]).nll == math.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.5, 0.6]], [0]), "add up"),
        (([[1.5, -0.5]], [0]), "add up"),
        (([[0.5, 0.5]], [2]), "classes"),
        (([[0.5, 0.5]], [0.5]), "classes"),
        (([[0.5, 0.5]], [0, 1]), "classes"),
        (([[0.5, 0.5]], [0], 0), "bins"),
        (([[float("nan"), 0.5]], [0]), "NaN"),
    ],
)
def test_bad_probabilities_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        ng.practice.classification_calibration(*arguments)


def test_targets_far_out_have_a_large_score_and_not_an_infinite_one():
    """The density is zero in floating point from 39 standard deviations on; its logarithm is not."""
    for z, sigma in ((1e3, 1.0), (50.0, 1e-8)):
        found = ng.practice.calibration([0.0], [sigma], [z * sigma]).nll
        assert found == pytest.approx(0.5 * z**2 + math.log(sigma) + 0.5 * math.log(2 * math.pi), rel=1e-12)


@pytest.mark.parametrize("label", [0, 1, 3])
def test_classes_that_tie_are_right_as_often_as_chance(label):
    uniform = ng.practice.classification_calibration(np.full((5, 4), 0.25), np.full(5, label))
    assert uniform.accuracy == 0.25
    assert uniform.ece == pytest.approx(0, abs=EXACT)
    two = ng.practice.classification_calibration(np.tile([0.4, 0.4, 0.1, 0.1], (5, 1)), np.full(5, label))
    assert two.accuracy == (0.0 if label == 3 else 0.5)
