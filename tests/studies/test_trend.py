import math

import numpy as np
import pytest
from scipy import stats

from ntkgap.studies.trend import find_trend, replicates
from tests.studies.worlds import trend_size
from tests.tolerances import EXACT

WIDTHS = (16, 64, 256, 1024)


def by_width(table):
    """From an array [seeds, widths]."""
    return {w: dict(enumerate(table[:, j])) for j, w in enumerate(WIDTHS)}


def test_it_is_scipys_slope_a_seed_and_scipys_t_over_seeds():
    table = np.exp(np.random.default_rng(0).standard_normal((6, 4)))
    found = find_trend(by_width(table), True)
    slopes = [stats.linregress(np.log(WIDTHS), np.log(row)).slope for row in table]
    expected = stats.ttest_1samp(slopes, 0)
    bounds = expected.confidence_interval(0.95)
    assert found.slope.value == pytest.approx(np.mean(slopes), rel=EXACT)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)  # the rounding of fits is taken off the slope
    assert (found.slope.low, found.slope.high) == pytest.approx((bounds.low, bounds.high), abs=1e-8)
    assert (found.n_seeds, found.widths) == (6, (16, 1024))


def test_in_linear_scale_it_is_the_change_a_decade():
    table = np.log10(WIDTHS) * 2 + np.random.default_rng(1).standard_normal((9, 1))
    found = find_trend(by_width(table), False)
    assert found.slope.value == pytest.approx(2, rel=EXACT)
    assert found.per_doubling == pytest.approx(2 * math.log10(2), rel=EXACT)
    assert found.text.startswith("rises, 2 [2, 2] a decade of width, p < 0.001")


@pytest.mark.parametrize(("exponent", "direction"), [(-0.5, "falls"), (0.0, "no clear trend"), (0.2, "rises")])
def test_an_exact_law_has_its_direction_and_rounding_has_none(exponent, direction):
    table = np.outer([1.0, 2.0, 3.0, 5.0], np.array(WIDTHS) ** exponent)
    found = find_trend(by_width(table), True)
    assert found.direction == direction
    assert found.per_doubling == pytest.approx(2**exponent, rel=EXACT)
    assert (found.p > 0.5) == (exponent == 0)


@pytest.mark.parametrize("noise", ["normal", "uniform", "log-normal"])
def test_without_a_trend_one_is_seen_in_five_of_a_hundred(noise):
    assert 0.015 < trend_size(5, noise, np.random.default_rng(5), 400) < 0.085


def test_a_trend_that_no_single_width_shows_is_seen():
    """All widths count at once: every step is a third of the noise."""
    rng = np.random.default_rng(2)
    p = [
        find_trend(by_width(0.5 * np.arange(4) + rng.standard_normal((9, 4))), False).p < 0.05 for _ in range(200)
    ]
    assert np.mean(p) > 0.8


def test_a_seed_that_fails_at_a_width_takes_that_width_from_all():
    table = np.exp(np.random.default_rng(3).standard_normal((5, 4)))
    for bad in (math.nan, math.inf, 0.0):
        holed = table.copy()
        holed[2, 0] = bad
        found = replicates(by_width(holed), True)
        assert found.widths.tolist() == [64, 256, 1024]
        assert found.values.tolist() == table[:, 1:].tolist()
    values = by_width(table)
    del values[1024][4]  # not computed yet: the other seeds stay
    assert replicates(values, True).values.shape == (4, 4)
    assert replicates({16: {0: math.nan}}, True).values.shape == (0, 0)


def test_too_little_gives_no_trend():
    table = np.ones((5, 4))
    assert find_trend(by_width(table[:2]), True) is None
    assert find_trend({16: dict(enumerate(table[:, 0]))}, True) is None
    assert find_trend({16: {0: math.nan}, 64: {0: math.nan}}, False) is None
