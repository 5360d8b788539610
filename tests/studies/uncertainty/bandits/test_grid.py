"""Constants beyond those given: tried until the best is inside, and no longer than allowed."""

import math

import pytest

from ntkgap.studies.uncertainty.bandits.grid import widened


def played(constants, regret, widenings):
    """The constants in the order in which they were played."""
    games = widened(constants, lambda c: c, regret=regret, widenings=widenings)
    assert all(constant == game for constant, game in games.items())
    return list(games)


def bowl(best):
    return lambda constant: 1 + abs(math.log10(constant) - math.log10(best))


@pytest.mark.parametrize(
    ("best", "more"), [(1.0, []), (10.0, [100.0]), (100.0, [100.0, 1000.0]), (0.01, [0.01, 0.001])]
)
def test_the_grid_grows_by_its_own_ratio_until_both_edges_are_clearly_worse(best, more):
    assert played([0.1, 1.0, 10.0], bowl(best), widenings=5) == [0.1, 1.0, 10.0, *more]


def test_an_edge_within_the_margin_of_the_claims_is_no_edge_yet():
    regrets = {0.1: 1.09, 1.0: 1.0, 10.0: 1.2, 0.01: 1.3}
    assert played([0.1, 1.0, 10.0], regrets.get, widenings=5) == [0.1, 1.0, 10.0, 0.01]


def test_no_more_games_than_allowed_and_none_for_a_single_constant():
    assert played([0.1, 1.0], lambda c: 1.0, widenings=3) == [0.1, 1.0, 0.01, 0.001, 0.0001]
    assert played([0.1, 1.0], bowl(10.0), widenings=0) == [0.1, 1.0]
    assert played([1.0], bowl(10.0), widenings=3) == [1.0]


def test_where_all_diverge_nothing_is_sought():
    assert played([0.1, 1.0], lambda c: math.inf, widenings=3) == [0.1, 1.0]
    assert played([1.0, 10.0], lambda c: math.inf if c > 5 else 1 / c, widenings=3) == [1.0, 10.0, 0.1]


def test_constants_keep_the_six_digits_that_name_their_games():
    assert played([0.3, 1.0], bowl(0.09), widenings=1) == [0.3, 1.0, 0.09]
    assert played([0.03, 0.07], lambda c: 1 / c, widenings=1)[-1] == float("0.163333")
