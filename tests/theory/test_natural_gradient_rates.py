import math
from itertools import pairwise

import pytest

from ntkgap import theory
from ntkgap.theory import (
    guaranteed_decay,
    largest_learning_rate,
    linearized_decay,
    stability_constant,
    theorem_radius,
)


def test_the_largest_rate_falls_from_one_to_zero_at_the_limit():
    rates = [largest_learning_rate(c / 100) for c in range(51)]
    assert rates[0] == 1
    assert rates[50] == 0
    assert all(a > b for a, b in pairwise(rates))
    assert largest_learning_rate(0.6) == 0
    assert math.isnan(largest_learning_rate(math.nan))


def test_stability_constant_and_radius_scale_as_the_theorem_says():
    # Scaling the outputs by s scales J by s and λ0 by s²: C′ does not change, nor does R if r scales too.
    assert stability_constant(2 * 0.1, 4 * 0.3) == pytest.approx(stability_constant(0.1, 0.3))
    assert theorem_radius(2 * 5.0, 4 * 0.3) == pytest.approx(theorem_radius(5.0, 0.3))
    # Where ‖ΔJ‖ = (C/3) √λ0 the constant is C.
    assert stability_constant(0.2 / 3 * math.sqrt(0.7), 0.7) == pytest.approx(0.2)


def test_without_a_positive_eigenvalue_nothing_can_be_said():
    assert math.isnan(stability_constant(0.1, 0.0))
    assert math.isnan(stability_constant(0.1, math.nan))
    assert math.isnan(theorem_radius(0.1, -1e-20))


def test_linearized_descent_is_faster_than_guaranteed():
    assert all(linearized_decay(eta) < guaranteed_decay(eta) for eta in (0.1, 0.5, 0.9))


def test_the_old_spelling_of_the_linearized_decay_warns():
    with pytest.warns(DeprecationWarning, match="linearized_decay"):
        assert theory.linearised_decay is linearized_decay
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = theory.nothing_of_the_kind
