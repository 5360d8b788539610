import math

import numpy as np
import pytest
from scipy import stats

from ntkgap.studies.discoveries import control, level_p
from ntkgap.studies.verdict import judge
from tests.studies.worlds import make_claim, mixed_world, null_world
from tests.tolerances import EXACT


def verdicts(*values):
    return [judge(make_claim(key=str(i)), "p", {64: dict(enumerate(v))}) for i, v in enumerate(values)]


def test_the_probability_is_that_of_the_sign_test():
    values = [0.5] * 7 + [2.0] * 2
    assert level_p(make_claim(), values) == pytest.approx(stats.binomtest(7, 9).pvalue, rel=EXACT)
    assert level_p(make_claim(), [2.0] * 9) == pytest.approx(2 / 2**9, rel=EXACT)
    assert level_p(make_claim(), [0.5, 2.0]) == 1
    for open_one in (math.nan, 1.0):
        assert level_p(make_claim(), [0.5] * 8 + [open_one]) == pytest.approx(20 / 2**9, rel=EXACT)


def test_what_stands_is_what_scipy_lets_stand():
    rng = np.random.default_rng(0)
    found = verdicts(*np.exp(rng.normal(np.linspace(-3, 0, 30)[:, None], 1, (30, 9))))
    adjusted = stats.false_discovery_control([v.p for v in found])
    expected = {(v.claim.key, "p") for v, p in zip(found, adjusted, strict=True) if p <= 0.05}
    assert control(found).standing == expected
    assert 0 < len(expected) < 30


@pytest.mark.parametrize("n", [5, 6, 9, 20])
def test_where_every_truth_is_at_its_limit_few_pages_have_a_wrong_verdict_that_stands(n):
    wrong, spoilt = null_world(n, "normal", np.random.default_rng(n), 25)
    assert 1 < wrong < 3.5  # what a reader sees without control
    assert spoilt <= 0.05


def test_what_is_clear_stands_with_nine_seeds():
    right, wrong = mixed_world(9, 4.0, np.random.default_rng(1), 20)
    assert right > 0.95
    assert wrong < 0.05


def test_the_sentence_says_how_many_chance_would_get_wrong():
    found = control(verdicts(*[[0.5] * 9] * 39, [0.5, 2.0] * 4 + [0.5]))
    assert found.sentence == (
        "Of 40 verdicts at the largest width up to 2.0 would be wrong by chance alone; 39 of the 39 that are "
        "decided stand after control of false discoveries, at most 5% of them expected to be wrong."
    )
    five = control(verdicts(*[[0.5] * 5] * 40))
    assert five.expected_wrong == pytest.approx(2.5, rel=EXACT)
    assert "none stands after control of false discoveries: take 9 seeds" in five.sentence
    assert control(verdicts([0.5] * 9)).sentence == ""
    assert control([]).n_verdicts == 0
