"""Changes of sign of a curve of medians, and the places at which its intervals hold zero."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from ntkgap.studies.statistics import Interval, zero_crossings
from tests.tolerances import EXACT


def test_a_crossing_is_the_root_of_the_interpolated_curve_and_its_interval_that_of_the_bounds():
    x = [1.0, 10.0, 30.0, 100.0]
    curves = {"value": [-5.0, -1.0, 3.0, 2.0], "low": [-7.0, -4.0, 1.0, 0.5], "high": [-2.0, 1.0, 6.0, 4.0]}
    intervals = [Interval(*column) for column in zip(*curves.values(), strict=True)]
    (found,) = zero_crossings(x, intervals)

    def root(name, a, b):
        return brentq(lambda t: np.interp(math.log(t), np.log(x), curves[name]), a, b, xtol=1e-14)

    assert found.rising
    assert found.at.value == pytest.approx(root("value", 10, 30), rel=EXACT)
    assert found.at.low == pytest.approx(root("high", 1, 10), rel=EXACT)
    assert found.at.high == pytest.approx(root("low", 10, 30), rel=EXACT)
    mirrored = [Interval(-i.value, -i.high, -i.low) for i in intervals]
    (falling,) = zero_crossings(x, mirrored)
    assert not falling.rising
    assert falling.at == found.at


def test_where_intervals_always_hold_zero_a_crossing_is_nowhere_decided():
    (found,) = zero_crossings([1.0, 10.0], [Interval(-1.0, -3.0, 1.0), Interval(1.0, -1.0, 3.0)])
    assert found.at.value == pytest.approx(math.sqrt(10), rel=EXACT)
    assert (found.at.low, found.at.high) == (0.0, math.inf)


@pytest.mark.parametrize("medians", [[1.0, 2.0, 3.0], [1.0, 0.0, 3.0], [0.0, 0.0, 0.0], [1.0], []])
def test_no_change_of_sign_is_no_crossing(medians):
    assert not zero_crossings([1.0, 2.0, 3.0][: len(medians)], [Interval(m, m, m) for m in medians])


def test_a_curve_may_turn_twice_and_stand_still_at_zero():
    found = zero_crossings([1.0, 2.0, 4.0, 8.0, 16.0], [Interval(m, m, m) for m in (-1.0, 0.0, 1.0, 1.0, -1.0)])
    assert [c.rising for c in found] == [True, False]
    assert [c.at.value for c in found] == pytest.approx([2.0, 8 * math.sqrt(2)])
    (jump,) = zero_crossings([1.0, 2.0], [Interval(-math.inf, -math.inf, -1.0), Interval(1.0, 0.5, 2.0)])
    assert jump.at.value == pytest.approx(2.0)
