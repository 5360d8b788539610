import itertools
import math

import pytest
from scipy import stats

from ntkgap.errors import StudyError
from ntkgap.studies.looks import LOOKS, deciding_probability, look
from tests.studies.worlds import make_claim
from tests.tolerances import EXACT

CLAIM = make_claim()  # below 1
YES, NO = 0.5, 2.0


def test_the_error_of_one_side_is_two_percent_and_the_power_is_known():
    error, _ = deciding_probability(0.5)
    power, seeds = deciding_probability(float(stats.norm.cdf(1)))
    assert error == pytest.approx(0.0211, abs=5e-5)
    assert power == pytest.approx(0.82, abs=0.005)
    assert 12 < seeds < 15
    other = ((5, 1), (10, 2), (20, 6))
    assert deciding_probability(0.5, other)[0] == pytest.approx(0.050, abs=5e-4)


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_the_probability_is_that_of_all_sequences_of_seeds(p):
    """Every sequence of ten seeds, judged by ``look`` itself, weighted by its probability."""
    looks = ((3, 1), (6, 2), (10, 3))
    decided = expected = 0.0
    for sides in itertools.product((True, False), repeat=10):
        weight = math.prod(p if side else 1 - p for side in sides)
        values = [YES if side else NO for side in sides]
        found = next(f for n in (3, 6, 10) if (f := look(CLAIM, values[:n], looks)).decision != "continue")
        decided += weight * (found.decision == "holds")
        expected += weight * found.n_seeds
    assert deciding_probability(p, looks) == pytest.approx((decided, expected), rel=EXACT)


def test_six_that_agree_decide_and_five_do_not():
    assert look(CLAIM, [YES] * 5) == look(CLAIM, [])
    assert look(CLAIM, []).next_seeds == 6
    assert (look(CLAIM, [YES] * 6).decision, look(CLAIM, [NO] * 6).decision) == ("holds", "fails")
    assert look(CLAIM, [YES] * 6).next_seeds is None


def test_seeds_between_two_looks_wait_for_the_next():
    values = [NO] + [YES] * 10
    assert look(CLAIM, values).decision == "continue"
    assert (look(CLAIM, values).n_seeds, look(CLAIM, values).next_seeds) == (6, 12)
    assert look(CLAIM, [*values, YES]).decision == "holds"
    assert look(CLAIM, [*values, YES, *[NO] * 8]).n_seeds == 12  # what was decided stays decided


def test_the_last_look_leaves_open_what_is_open():
    assert look(CLAIM, [NO, YES] * 10).decision == "undecided"
    assert look(CLAIM, [NO] * 4 + [YES] * 16).decision == "holds"


@pytest.mark.parametrize("value", [math.nan, 1.0])
def test_undecidable_seeds_and_ties_are_on_neither_side(value):
    assert look(CLAIM, [value] + [YES] * 5).decision == "continue"
    assert look(CLAIM, [value] + [YES] * 11).decision == "holds"
    assert look(CLAIM, [math.inf] * 6).decision == "fails"


@pytest.mark.parametrize("looks", [(), ((6, 1), (6, 2)), ((12, 2), (6, 1)), ((6, 0),), ((6, 4),)])
def test_looks_that_are_none_are_refused(looks):
    with pytest.raises(StudyError, match="ascending seeds"):
        look(CLAIM, [], looks)


def test_every_look_is_an_exact_interval():
    for n, k in LOOKS:
        assert look(CLAIM, [NO] * (k - 1) + [YES] * (n - k + 1), ((n, k),)).decision == "holds"
        assert look(CLAIM, [NO] * k + [YES] * (n - k), ((n, k),)).decision == "undecided"
