import math

import numpy as np
import pytest
from scipy import stats

from ntkgap.studies.association import Pair, pooled_association, rank_association
from tests.tolerances import EXACT


def pairs(x, y, by_column=False):
    """From arrays [seeds, widths]; every column a stratum if asked for."""
    return [
        Pair(float(x[i, j]), float(y[i, j]), i, j if by_column else ())
        for i in range(len(x))
        for j in range(x.shape[1])
    ]


def noisy(rng, seeds=5, widths=6, trend=0.0, shared=0.0):
    """Two numbers that fall with width, carry the noise of their seed, and noise of their own."""
    width, of_seed = np.arange(widths), shared * rng.standard_normal((seeds, 1))
    return [of_seed - trend * width + rng.standard_normal((seeds, widths)) for _ in range(2)]


def test_in_one_stratum_it_is_scipys_rank_correlation():
    x, y = noisy(np.random.default_rng(0), trend=0.4)
    x = np.round(x)  # ties
    found = rank_association(pairs(x, y))
    assert found.rho.value == pytest.approx(stats.spearmanr(x.ravel(), y.ravel()).statistic, rel=EXACT)
    assert found.rho.low < found.rho.value < found.rho.high
    assert (found.n_cells, found.n_left_out, found.n_seeds) == (30, 0, 5)


def test_strata_are_averaged_by_their_size():
    x, y = noisy(np.random.default_rng(1))
    some = [p for p in pairs(x, y, by_column=True) if p.stratum or p.seed]  # one seed less in the first stratum
    rho = [stats.spearmanr(x[1 if j == 0 else 0 :, j], y[1 if j == 0 else 0 :, j]).statistic for j in range(6)]
    expected = np.average(rho, weights=[4, 5, 5, 5, 5, 5])
    assert rank_association(some).rho.value == pytest.approx(expected, rel=EXACT)


def test_differences_between_strata_do_not_enter():
    rng = np.random.default_rng(2)
    x, y = noisy(rng)
    shifted = rank_association(pairs(x + 100 * np.arange(6), y + 7 * np.arange(6), by_column=True))
    assert shifted == rank_association(pairs(x, y, by_column=True))
    assert rank_association(pairs(x + 100 * np.arange(6), y + 7 * np.arange(6))).rho.value > 0.9


def test_only_the_order_counts():
    x, y = noisy(np.random.default_rng(3), trend=0.3)
    found = rank_association(pairs(x, y))
    assert rank_association(pairs(np.exp(3 * x), y**3)) == found
    turned = rank_association(pairs(x, -y)).rho
    assert (turned.low, turned.high) == pytest.approx((-found.rho.high, -found.rho.low), rel=EXACT)


def test_what_diverged_ranks_highest_and_what_is_inconclusive_is_left_out():
    x, y = noisy(np.random.default_rng(4), trend=0.3)
    x[0, 0] = y[0, 0] = y[1, 0] = math.inf
    huge_x, huge_y = (np.where(np.isinf(a), 1e9, a) for a in (x, y))
    found = rank_association(pairs(x, y))
    assert found == rank_association(pairs(huge_x, huge_y))
    y[2, 3] = x[3, 1] = math.nan
    with_gaps = rank_association(pairs(x, y))
    assert (with_gaps.n_cells, with_gaps.n_left_out) == (28, 2)
    decided = ~(np.isnan(x) | np.isnan(y))
    assert with_gaps.rho.value == pytest.approx(stats.spearmanr(x[decided], y[decided]).statistic, rel=EXACT)


def test_perfect_order_is_one_with_an_interval_below():
    x = np.arange(30.0).reshape(5, 6)
    found = rank_association(pairs(x, 2 * x)).rho
    assert found.value == pytest.approx(1, rel=EXACT)
    assert 0.9 < found.low <= found.value <= found.high <= 1 + EXACT


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_give_no_interval(seeds):
    x, y = noisy(np.random.default_rng(5), seeds=seeds)
    found = rank_association(pairs(x, y)).rho
    assert math.isfinite(found.value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_nothing_to_rank_is_inconclusive():
    assert math.isnan(rank_association([]).rho.value)
    constant = rank_association(pairs(np.ones((4, 3)), np.arange(12.0).reshape(4, 3)))
    assert math.isnan(constant.rho.value)
    assert math.isnan(rank_association(pairs(*noisy(np.random.default_rng(6), seeds=2), by_column=True)).rho.value)


@pytest.mark.parametrize(
    ("settings", "by_column"),
    [
        ({}, False),
        ({"seeds": 3}, False),
        ({"shared": 1.0}, False),
        ({"trend": 1.0}, False),
        ({"trend": 1.0}, True),
    ],
    ids=["no correlation", "three seeds", "noise of the seed", "common trend", "common trend, fixed width"],
)
def test_the_interval_covers_the_correlation_as_often_as_it_says(settings, by_column):
    """Cells of a seed go together, so cells are no replicates; and a common trend is none at fixed width."""
    rng = np.random.default_rng(7)
    many = noisy(rng, **settings | {"seeds": 20_000})
    if by_column:
        true = np.mean([stats.spearmanr(many[0][:, j], many[1][:, j]).statistic for j in range(6)])
    else:
        true = stats.spearmanr(many[0].ravel(), many[1].ravel()).statistic
    intervals = [rank_association(pairs(*noisy(rng, **settings), by_column)).rho for _ in range(300)]
    hits = np.mean([i.low <= true <= i.high for i in intervals])
    assert 0.91 <= hits <= 0.995
    assert np.mean([i.high - i.low for i in intervals]) < 1.7


def test_groups_of_opposite_signs_are_not_pooled():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((5, 6))
    y = x + 0.5 * rng.standard_normal((5, 6))

    def group(x, y, name):
        return [Pair(p.x, p.y, p.seed, name) for p in pairs(x, y)]

    alike = {"a": group(x, y, "a"), "b": group(y, x, "b")}
    assert pooled_association(alike) == rank_association([*alike["a"], *alike["b"]])
    assert pooled_association(alike).sign == 1
    against = {"a": group(x, y, "a"), "b": group(x, -y, "b"), "c": group(x, np.ones_like(x), "c")}
    found = pooled_association(against)
    rho = rank_association(against["a"]).rho.value
    assert found.conflict == f"a {rho:+.2f}, b {-rho:+.2f}"
    assert math.isnan(found.rho.value)
    assert (found.n_cells, found.n_seeds, found.sign) == (90, 5, 0)
    assert pooled_association({"a": against["a"], "c": against["c"]}).conflict == ""
