import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from ntkgap.errors import StudyError
from ntkgap.studies.looks import (
    LOOKS,
    decide_by,
    deciding_chance,
    deciding_probability,
    look,
    p_value,
    side_of,
    stagewise_p,
)
from ntkgap.studies.statistics import order_statistic_interval
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
    assert look(CLAIM, [NO, YES] * 10).decision == "inconclusive"
    assert look(CLAIM, [NO] * 4 + [YES] * 16).decision == "holds"


@pytest.mark.parametrize("value", [math.nan, 1.0])
def test_inconclusive_seeds_and_ties_are_on_neither_side(value):
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
        assert look(CLAIM, [NO] * k + [YES] * (n - k), ((n, k),)).decision == "inconclusive"


def test_what_no_look_to_come_can_decide_ends():
    found = look(CLAIM, [NO, YES] * 6)  # six of twelve on each side, and four of twenty may be off
    assert (found.decision, found.n_seeds, found.next_seeds) == ("inconclusive", 12, None)
    assert look(CLAIM, [NO] * 4 + [YES] * 8).decision == "continue"
    assert look(CLAIM, [math.nan] * 6).decision == "inconclusive"


def outcomes():
    """Seeds on one side of the first 6, the next 6 and the last 8 of 20, and how probable that is at the limit."""
    for first, second, third in itertools.product(range(7), range(7), range(9)):
        yield (
            (first, second, third),
            math.prod(float(stats.binom.pmf(k, n, 0.5)) for k, n in ((first, 6), (second, 6), (third, 8))),
        )


def sides_of(counts):
    parts = [[1] * k + [-1] * (n - k) for k, n in zip(counts, (6, 6, 8), strict=True)]
    sides = list(itertools.chain(*parts))
    return [sides[:n] for n, _ in LOOKS]


def test_p_is_valid_wherever_the_seeds_end():
    """All outcomes of twenty seeds at the limit, each ended where p is smallest: P(p ≤ x) ≤ x at every p."""
    found = []
    for counts, chance in outcomes():
        sides = sides_of(counts)
        found.append((min(decide_by(sides[:reached]).p for reached in (1, 2, 3)), chance))
    for x in {p for p, _ in found} - {1.0}:
        assert sum(chance for p, chance in found if p <= x) <= x
    assert min(p for p, _ in found) < 1e-5


def test_the_stagewise_p_is_the_probability_of_what_is_as_extreme():
    for n, off, expected in (
        (6, 0, 1 / 32),
        (12, 1, 1 / 32 + 2 * 6 / 2**12),
        (20, 4, 2 * deciding_probability(0.5)[0]),
    ):
        assert stagewise_p(n, off) == pytest.approx(expected, rel=EXACT)
    found = [(decide_by(sides_of(counts)), chance) for counts, chance in outcomes()]
    assert sum(chance for f, chance in found if f.decision == "holds") == pytest.approx(
        stagewise_p(20, 4) / 2, rel=EXACT
    )


def test_seeds_beyond_the_look_that_decided_count_where_they_agree():
    assert p_value(6, [0]) == pytest.approx(1 / 32 + 0.001, rel=EXACT)
    assert p_value(6, [0, 0]) == pytest.approx(4 / 2**12, rel=EXACT)
    assert p_value(6, [0, 1]) == p_value(6, [0])
    assert p_value(6, [0, 1, 1]) == pytest.approx(4 * 21 / 2**20, rel=EXACT)
    assert p_value(20, [4]) == pytest.approx(stagewise_p(20, 4) + 0.001, rel=EXACT)


@pytest.mark.parametrize("counts", [(5, 1), (4, 2), (3, 3), (2, 0)])
@pytest.mark.parametrize("step", LOOKS[1:])
def test_the_chance_of_a_decision_is_an_integral_over_jeffreys_prior(counts, step):
    (n, k), m = step, 6
    expected = 0.0
    for hits in counts:

        def decides(angle, hits=hits):  # q = sin² of it, which leaves nothing singular
            q = math.sin(angle) ** 2
            chance = stats.binom.cdf(k - 1 - (m - hits), n - m, 1 - q)
            return chance * stats.beta.pdf(q, hits + 0.5, m - hits + 0.5) * math.sin(2 * angle)

        expected += integrate.quad(decides, 0, math.pi / 2)[0]
    sides = [1] * counts[0] + [-1] * counts[1] + [0] * (m - sum(counts))
    assert deciding_chance(sides, n, k) == pytest.approx(expected, abs=EXACT)


def test_bounds_on_both_sides_of_the_limit_are_on_neither():
    assert (side_of(CLAIM, YES, YES), side_of(CLAIM, NO, NO), side_of(CLAIM, YES, NO)) == (1, -1, 0)
    assert side_of(CLAIM, math.nan, YES) == side_of(CLAIM, YES, math.nan) == 0


def test_a_decision_is_an_interval_clear_of_the_limit():
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = np.exp(rng.normal(rng.normal(), 1, 20))
        found = look(CLAIM, values)
        k = dict(LOOKS)[found.n_seeds]
        i = order_statistic_interval(values[: found.n_seeds], k)
        state = "holds" if i.high < 1 else "fails" if i.low > 1 else "inconclusive"
        assert found.decision == state


def test_where_every_truth_is_at_its_limit_few_pages_have_a_wrong_verdict_that_stands():
    """Forty claims a page, every width with all twenty seeds: more than a rule that stops would have."""
    rng, spoilt, pages = np.random.default_rng(0), 0, 200
    for _ in range(pages):
        sides = rng.choice((-1, 1), (40, 20)).tolist()
        found = [decide_by([row[:n] for n, _ in LOOKS]) for row in sides]
        adjusted = stats.false_discovery_control([f.p for f in found])
        spoilt += any(p <= 0.05 for p, f in zip(adjusted, found, strict=True) if f.decision in ("holds", "fails"))
    assert spoilt <= 0.05 * pages
