import math

import numpy as np
import pytest
from scipy import stats

from ntkgap.errors import StudyError
from ntkgap.studies.statistics import (
    RECOMMENDED_SEEDS,
    fit_power_law,
    median_confidence,
    median_interval,
    order_statistic_interval,
    seeds_advice,
    student_interval,
)
from tests.studies.worlds import NOISE, interval_rates, signed_rank_interval
from tests.tolerances import EXACT

WIDTHS = [64, 128, 256, 512, 1024]


def power_law(exponent, noise=0.0, seeds=5, bend=0.0, rng=None):
    rng = rng or np.random.default_rng(0)
    middle = math.log(WIDTHS[2])
    return {
        s: {
            w: 3.0
            * math.exp(
                exponent * math.log(w) + bend / 2 * (math.log(w) - middle) ** 2 + noise * rng.standard_normal()
            )
            for w in WIDTHS
        }
        for s in range(seeds)
    }


@pytest.mark.parametrize("n", [2, 3, 5, 6, 7, 8, 10, 15])
def test_median_interval_covers_the_median_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    intervals = [median_interval(rng.exponential(size=n)) for _ in range(4000)]
    hits = np.mean([i.low <= math.log(2) <= i.high for i in intervals])
    expected = median_confidence(n)
    assert hits == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 4000) ** 0.5 + 1e-9)
    assert expected >= 0.95 or n <= 5


@pytest.mark.parametrize("n", [2, 3, 5])
def test_with_few_seeds_the_interval_is_the_range(n):
    values = np.random.default_rng(n).standard_normal(n)
    interval = median_interval(values)
    assert (interval.low, interval.high) == (values.min(), values.max())
    assert median_confidence(n) == pytest.approx(1 - 2.0 ** (1 - n))


def test_with_many_seeds_the_interval_narrows():
    rng = np.random.default_rng(0)
    widths = []
    for n in (10, 100, 1000):
        interval = median_interval(rng.standard_normal(n))
        widths.append(interval.high - interval.low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


@pytest.mark.parametrize("n", [6, 7, 8, 9, 12, 20])
@pytest.mark.parametrize("noise", NOISE)
def test_between_order_statistics_the_median_is_covered_whatever_the_noise(n, noise):
    covered, _ = interval_rates(median_interval, n, noise, np.random.default_rng(n), 2000)
    assert covered == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 2000) ** 0.5)


def test_more_seeds_decide_more_also_from_five_to_eight():
    rng = np.random.default_rng(0)
    powers = [interval_rates(median_interval, n, "normal", rng, 4000)[1] for n in range(5, 10)]
    assert powers == sorted(powers)
    assert powers[0] == pytest.approx(stats.norm.cdf(1) ** 5, abs=0.03)
    exact = interval_rates(lambda x: order_statistic_interval(x, 1), 8, "normal", rng, 4000)[1]
    assert exact < powers[0] < 0.5 < powers[3]  # what the exact interval loses at eight seeds


def test_a_signed_rank_interval_is_no_alternative_where_noise_is_skewed():
    rng = np.random.default_rng(0)
    assert interval_rates(signed_rank_interval, 20, "normal", rng, 1000)[0] > 0.93
    assert interval_rates(signed_rank_interval, 20, "log-normal", rng, 1000)[0] < 0.93
    x = rng.standard_normal(9)
    low, high = signed_rank_interval(x).low, signed_rank_interval(x).high
    assert stats.wilcoxon(x - low + 1e-9).pvalue <= 0.05 < stats.wilcoxon(x - low - 1e-9).pvalue
    assert stats.wilcoxon(x - high - 1e-9).pvalue <= 0.05 < stats.wilcoxon(x - high + 1e-9).pvalue


@pytest.mark.parametrize(("n", "k"), [(5, 1), (6, 1), (8, 1), (9, 2), (12, 3), (20, 6)])
def test_the_bounds_lie_between_the_exact_ones(n, k):
    values = np.random.default_rng(n).standard_normal(n)
    ours, outer, inner = (
        median_interval(values),
        order_statistic_interval(values, k),
        order_statistic_interval(values, min(k + 1, (n + 1) // 2)),
    )
    assert outer.low <= ours.low <= inner.low <= ours.value <= inner.high <= ours.high <= outer.high
    assert ours.value == outer.value == np.median(values)


def test_an_inconclusive_seed_is_the_worst_case_at_both_ends():
    values = [float(v) for v in range(19)]
    with_nan = median_interval([*values, math.nan])
    assert with_nan.low == median_interval([-math.inf, *values]).low
    assert with_nan.high == median_interval([*values, math.inf]).high
    assert with_nan.value == 9.0
    assert 0 < with_nan.low < with_nan.high < 18
    alone = median_interval([math.nan, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert (alone.low, alone.high) == (-math.inf, math.inf)
    assert math.isnan(median_interval([math.nan]).value)


def test_a_bound_next_to_an_infinite_one_is_the_outer_one():
    assert median_interval([1.0, *[math.inf] * 7]).low == 1.0
    assert median_interval([*range(6), math.inf, math.inf]).high == math.inf


def test_bad_input_of_intervals_is_one_line():
    with pytest.raises(StudyError, match="at least one value"):
        median_interval([])
    for k in (0, 4):
        with pytest.raises(StudyError, match=f"k = {k} is no rank"):
            order_statistic_interval([1.0, 2.0, 3.0, 4.0, 5.0], k)


def test_seven_and_eight_seeds_are_advised_against():
    assert [n for n in range(2, 30) if seeds_advice(n)] == [7, 8]
    assert all(str(n) in seeds_advice(8) for n in RECOMMENDED_SEEDS)


def test_diverged_seeds_are_ordered_like_numbers():
    interval = median_interval([1.0, math.inf, math.inf])
    assert interval.value == math.inf
    assert interval.low == 1.0
    assert median_interval([1.0, 2.0, math.inf]).value == 2.0
    assert median_interval([1.0, math.inf]).value == math.inf


def test_the_same_values_give_the_same_interval():
    assert median_interval([3.0, 1.0, 2.0]) == median_interval([3.0, 1.0, 2.0])


def test_an_exact_power_law_is_recovered():
    law = fit_power_law(power_law(-0.5), 3)
    assert law.exponent.value == pytest.approx(-0.5, rel=EXACT)
    assert law(5000) == pytest.approx(3 * 5000**-0.5, rel=EXACT)
    assert law.crossing(0.01).value == pytest.approx(90000, rel=EXACT)
    assert law.curvature.value == pytest.approx(0, abs=EXACT)


@pytest.mark.parametrize("exponent", [0.0, -0.25, -0.5, -1.0])
def test_the_rounding_of_an_exact_law_is_neither_a_slope_nor_a_bend(exponent):
    """Without noise the coefficients of all seeds differ by rounding alone, in a direction the machine decides."""
    law = fit_power_law(power_law(exponent), 3)
    assert law.exponent.low < exponent < law.exponent.high
    assert law.curvature.low < 0 < law.curvature.high


def test_the_exponents_interval_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(3)
    fits = [fit_power_law(power_law(-0.25, noise=0.2, seeds=4, rng=rng), 3) for _ in range(300)]
    hits = sum(f.exponent.low <= -0.25 <= f.exponent.high for f in fits)
    assert hits / 300 == pytest.approx(0.95, abs=0.04)


def test_noise_shared_by_all_widths_of_a_seed_does_not_blur_the_exponent():
    values = power_law(-0.5, noise=0.01)
    shifted = {s: {w: v * 10**s for w, v in of_seed.items()} for s, of_seed in values.items()}
    law, same = fit_power_law(values, 3), fit_power_law(shifted, 3)
    assert same.exponent.value == pytest.approx(law.exponent.value, rel=EXACT)
    assert same.exponent.high == pytest.approx(law.exponent.high, rel=EXACT)


def test_no_crossing_where_the_exponent_may_be_zero():
    assert fit_power_law(power_law(0.0, noise=0.1), 3).crossing(0.1) is None
    assert fit_power_law(power_law(0.3), 3).crossing(0.1) is None


def test_curvature_widens_the_crossing():
    flattening = fit_power_law(power_law(-0.5, noise=0.001, bend=0.3), 3)
    assert flattening.curvature.value == pytest.approx(0.3, rel=0.05)
    # This law turns where its slope is zero and never comes down to 0.01.
    assert flattening.crossing(0.01).high == math.inf
    dropping = fit_power_law(power_law(-0.5, noise=0.001, bend=-0.3), 3)
    assert dropping.crossing(0.01).low < 0.5 * dropping.crossing(0.01).value


def test_values_that_are_no_numbers_are_left_out():
    values = power_law(-0.5)
    for of_seed in values.values():
        of_seed[64] = math.nan
        of_seed[128] = math.inf
    assert fit_power_law(values, 3).exponent.value == pytest.approx(-0.5, rel=EXACT)
    assert fit_power_law(values, 4) is None
    assert fit_power_law({0: values[0]}, 3) is None, "one seed has no spread"


def test_student_interval_of_one_value_is_the_line():
    assert student_interval([2.0]).high == math.inf
