import math

import numpy as np
import pytest

from ntkgap.studies.extrapolation import extrapolate
from ntkgap.studies.trend import Replicates
from tests.studies.worlds import WIDTHS, bracket_rates, crossing, law, make_claim
from tests.tolerances import EXACT

WIDEST = int(WIDTHS[-1])


def exact(truth, ratio, seeds=3):
    """Seeds that differ by a millionth."""
    spread = np.exp(1e-6 * np.arange(seeds) - 1e-6)[:, None]
    return Replicates(WIDTHS, law(truth, ratio)(WIDTHS) * spread)


@pytest.mark.parametrize("truth", ["straight", "steep", "bent"])
@pytest.mark.parametrize(("seeds", "noise"), [(5, 0.03), (9, 0.1)])
def test_the_bracket_contains_the_crossing_nine_times_of_ten(truth, seeds, noise):
    named, covered = bracket_rates(truth, 1.2, seeds, noise, np.random.default_rng(seeds), 60)
    assert named > 0.25  # a bracket that is never named would be no answer
    assert covered >= 0.9


@pytest.mark.parametrize("truth", ["flat", "floor", "late"])
@pytest.mark.parametrize("ratio", [1.2, 1.5])
def test_where_a_law_never_gets_there_hardly_ever_a_width_is_named(truth, ratio):
    assert math.isinf(crossing(truth, ratio))
    assert bracket_rates(truth, ratio, 5, 0.1, np.random.default_rng(0), 60)[0] <= 0.1


@pytest.mark.parametrize("truth", ["straight", "steep", "bent"])
def test_beside_the_limit_the_bracket_begins_at_the_largest_width(truth):
    named, covered = bracket_rates(truth, 1.02, 9, 0.04, np.random.default_rng(0), 60)
    assert named > 0.25
    assert covered >= 0.9
    found = extrapolate(make_claim(-0.25), exact(truth, 1 - 1e-7), WIDEST).width
    assert found.low == found.value == pytest.approx(WIDEST)


def test_beside_the_limit_a_floor_is_not_taken_for_a_law_that_falls_on():
    for ratio in (1.01, 1.05):
        assert bracket_rates("floor", ratio, 9, 0.04, np.random.default_rng(0), 60)[0] <= 0.1


def test_between_the_fitted_exponent_and_theorys():
    found = extrapolate(make_claim(-0.25), exact("steep", 1.4), WIDEST).width
    assert found.low == pytest.approx(WIDEST * 1.4 ** (1 / 0.39), rel=1e-4)
    assert found.high == pytest.approx(WIDEST * 1.4**4, rel=1e-4)
    assert found.value == pytest.approx(math.sqrt(WIDEST**2 * 1.4 ** (1 / 0.39 + 4)), rel=1e-4)
    assert crossing("steep", 1.4) == pytest.approx(WIDEST * 1.4 ** (1 / 0.39), rel=EXACT)


def test_the_shallow_network_whose_crossing_a_straight_law_put_too_early():
    """C′ of the shallow ReLU network, medians of five seeds: ½ is met at 1.1e6, 134 times the widest measured."""
    c_prime = np.array([11.4173, 8.8599, 5.1783, 2.9494, 2.2758])
    values = c_prime * np.exp(0.02 * np.random.default_rng(0).standard_normal((5, 5)))
    found = extrapolate(make_claim(-0.25, threshold=0.5), Replicates(WIDTHS, values), WIDEST)
    assert found.width is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (exact("steep", 1.4, seeds=2), "too few widths or seeds"),
        (Replicates(WIDTHS[:2], np.ones((5, 2))), "too few widths or seeds"),
        (
            Replicates(WIDTHS[:4], exact("steep", 1.4).values[:, :4]),
            "not every seed is decided at the largest width",
        ),
        (exact("steep", 0.9), "below the limit already"),
        (Replicates(WIDTHS, 2 * np.outer([1, 2, 3], WIDTHS)), "grow with width"),
        (Replicates(WIDTHS, np.outer([2, 3, 4], np.ones(5))), "do not clearly fall with width (exponent 0.00 ["),
        (exact("flat", 1.4), "a floor above the limit fits"),
        (exact("straight", 2.0), "more than 10 times the largest width"),
    ],
)
def test_what_stands_in_the_way(found, words):
    answer = extrapolate(make_claim(-0.25), found, WIDEST)
    assert answer.width is None
    assert words in answer.obstacle
