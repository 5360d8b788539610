import math
from dataclasses import fields

import pytest

from ntkgap.errors import StudyError
from ntkgap.studies.claim import Claim
from ntkgap.studies.verdict import judge, judge_width, number

WIDTHS = [16, 64, 256, 1024]


def claim(**changes):
    settings = {
        "key": "toy",
        "title": "toy",
        "statement": "toy",
        "source": "none",
        "kind": "consequence",
        "quantity": "q",
        "label": "q",
        "threshold": 1.0,
        "direction": "below",
        "criterion": "q < 1",
        "prediction": "0",
        "inconclusive": "too small to tell",
        "exponent": -0.5,
    }
    return Claim(**(settings | changes))


def values(function, seeds=5):
    return {w: {s: function(w, s) for s in range(seeds)} for w in WIDTHS}


def test_a_claim_that_holds_everywhere():
    verdict = judge(claim(), "p", values(lambda w, s: 0.5 + 0.01 * s))
    assert verdict.status == "holds"
    assert verdict.holds_from == 16
    assert verdict.effect == pytest.approx(0.52)
    assert "every width tested, 16 to 1024" in verdict.sentence


def test_a_claim_that_holds_from_a_width_on():
    verdict = judge(claim(), "p", values(lambda w, s: (1 + 0.01 * s) * 10 / w**0.5))
    assert [r.state for r in verdict.widths] == ["fails", "fails", "holds", "holds"]
    assert verdict.status == "holds from width 256"
    assert verdict.crossing.low < 104 < verdict.crossing.high
    assert verdict.extrapolated is None


def test_holding_at_narrow_widths_alone_is_failing():
    verdict = judge(claim(), "p", values(lambda w, s: 0.5 if w < 100 else 2.0 + s / 10))
    assert verdict.status == "fails"
    assert verdict.holds_from is None


def test_a_failed_condition_is_not_called_a_failed_theory():
    verdict = judge(claim(kind="condition"), "p", values(lambda w, s: 2.0))
    assert verdict.status == "condition not met"
    assert "Condition not met at the largest width" in verdict.sentence
    assert "fails" not in verdict.sentence.lower()


def test_extrapolation_reaches_out_but_not_without_end():
    near = judge(claim(), "p", values(lambda w, s: (1 + 0.01 * s) * 80 / w**0.5))
    assert near.extrapolated.low < 6400 * 1.04 < near.extrapolated.high
    assert "Extrapolated, it would hold from width" in near.sentence
    far = judge(claim(), "p", values(lambda w, s: (1 + 0.01 * s) * 120 / w**0.5))
    assert far.crossing is not None
    assert far.extrapolated is None
    assert "cannot be told from these widths: it may be more than 10 times the largest" in far.sentence


def test_extrapolation_refuses_what_flattens():
    verdict = judge(claim(), "p", values(lambda w, s: 2 + (1 + 0.001 * s) * 100 / w))
    assert verdict.extrapolated is None
    assert "a floor above the limit fits the measurements as well" in verdict.sentence


def test_the_outlook_says_what_stands_in_the_way():
    grows = judge(claim(), "p", values(lambda w, s: (2 + 0.01 * s) * w**0.2))
    assert "the measurements grow with width" in grows.sentence
    noisy = judge(claim(), "p", values(lambda w, s: 5 + math.sin(w * (s + 1))))
    assert "do not clearly fall with width" in noisy.sentence
    inside = judge(claim(), "p", values(lambda w, s: (1 + 0.05 * (s - 2)) * 30 / w**0.5))
    assert inside.status == "inconclusive"
    assert "The fitted power law meets the limit at width 89" in inside.sentence


def test_without_an_exponent_of_theory_no_width_is_named():
    falling = values(lambda w, s: (1 + 0.01 * s) * 80 / w**0.5)
    assert "theory names no exponent" in judge(claim(exponent=None), "p", falling).sentence
    near = values(lambda w, s: (1 + 0.01 * s) * 50 / w**0.5)
    slow = judge(claim(exponent=-0.5, slowest_exponent=-0.4), "p", near)
    assert slow.extrapolated.high > judge(claim(), "p", near).extrapolated.high


def test_two_ties_have_the_same_verdict_whatever_rounding_does():
    below, above = 0.3 - 0.1, 0.1 + 0.1
    assert below != above
    for tie in (below, above):
        for direction in ("below", "above"):
            verdict = judge(claim(threshold=0.2, direction=direction), "p", values(lambda w, s, v=tie: v))
            assert verdict.status == "inconclusive"
            assert verdict.widths[-1].reason == "at the threshold"
            mixed = judge(claim(threshold=0.2, direction=direction), "p", values(lambda w, s, v=tie: v + s / 10))
            assert mixed.widths[-1].reason == "the 94% interval ends at the threshold"
    zero = claim(threshold=0.0, log_scale=False)
    assert judge(zero, "p", values(lambda w, s: 1e-12 * (s - 2))).status == "inconclusive"
    assert judge(claim(threshold=1e-12, tie=0.1), "p", values(lambda w, s: 8e-13 - s * 1e-14)).status == "holds"


def test_one_inconclusive_seed_among_twenty_is_borne_and_said():
    def one(w, s):
        return math.nan if s == 3 else 0.1 + 0.01 * s

    verdict = judge(claim(), "p", values(one, seeds=20))
    assert verdict.status == "holds"
    assert "20 seeds, 1 of them inconclusive and counted at both ends, 95% interval" in verdict.sentence
    many = judge(claim(), "p", values(lambda w, s: math.nan if s < 6 else one(w, s), seeds=20))
    assert many.status == "inconclusive"
    assert "6 of 20 seeds: too small to tell" in many.sentence


def test_inconclusive_seeds_never_make_a_verdict():
    """Whatever the inconclusive seed had been, its verdict or none would have come out."""
    numbers = [0.5] * 7 + [2.0] * 2
    state = judge_width(claim(), 1, [*numbers, math.nan]).state
    assert state in ("inconclusive", judge_width(claim(), 1, [*numbers, 0.1]).state)
    assert state in ("inconclusive", judge_width(claim(), 1, [*numbers, 9.0]).state)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threshold": math.nan}, "threshold of the claim 'toy' must be finite"),
        ({"threshold": math.inf}, "threshold of the claim 'toy' must be finite"),
        ({"threshold": -1.0}, "has the threshold -1, which has no logarithm"),
        ({"threshold": 0.0}, "has no logarithm"),
        ({"exponent": math.inf}, "exponent of the claim 'toy' must be finite"),
        ({"tie": -1.0}, "must not be negative"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_one_line(changes, words):
    with pytest.raises(StudyError, match=words):
        claim(**changes)


def test_an_interval_across_the_limit_is_inconclusive():
    verdict = judge(claim(), "p", values(lambda w, s: 0.8 + 0.1 * s))
    assert verdict.status == "inconclusive"
    assert "interval contains the limit" in verdict.widths[-1].reason


def test_bounds_of_the_numbers_themselves_widen_the_interval():
    numbers = values(lambda w, s: 0.8 + 0.01 * s)
    doubt = {16: 0.0, 64: 0.1, 256: 0.17, 1024: 0.3}
    bounds = {w: {s: (v - 0.5, v + doubt[w]) for s, v in seeds.items()} for w, seeds in numbers.items()}
    verdict = judge(claim(), "p", numbers, bounds)
    assert [r.state for r in verdict.widths] == ["holds", "holds", "inconclusive", "inconclusive"]
    last = verdict.widths[-1].interval
    assert (last.value, last.low, last.high) == pytest.approx((0.82, 0.3, 1.14))
    certain = judge(
        claim(), "p", numbers, {w: {s: (v, v) for s, v in found.items()} for w, found in numbers.items()}
    )
    assert certain == judge(claim(), "p", numbers)
    # Seeds without any doubt but one: the median's interval reaches to the largest of the upper bounds.
    one = {w: {s: (v, v + (s == 2)) for s, v in found.items()} for w, found in numbers.items()}
    assert judge(claim(), "p", numbers, one).widths[0].interval.high == pytest.approx(1.82)


def test_one_seed_decides_nothing():
    verdict = judge(claim(), "p", values(lambda w, s: 0.1, seeds=1))
    assert verdict.status == "inconclusive"
    assert "single seed" in verdict.sentence
    assert "0%" not in verdict.sentence


def test_two_seeds_decide_nothing_however_clear():
    verdict = judge(claim(), "p", values(lambda w, s: 1e-6 * (1 + s), seeds=2))
    assert {r.state for r in verdict.widths} == {"inconclusive"}
    assert "2 seeds are too few" in verdict.sentence
    assert judge(claim(), "p", values(lambda w, s: 1e-6 * (1 + s), seeds=3)).status == "holds"


def test_an_inconclusive_seed_makes_its_width_inconclusive():
    verdict = judge(claim(), "p", values(lambda w, s: math.nan if (w, s) == (1024, 2) else 0.1))
    assert [r.state for r in verdict.widths] == ["holds", "holds", "holds", "inconclusive"]
    assert "1 of 5 seeds: too small to tell" in verdict.sentence
    assert math.isnan(verdict.effect)


def test_a_diverged_majority_fails():
    verdict = judge(claim(), "p", values(lambda w, s: math.inf if s > 0 else 2.0))
    assert verdict.state == "fails"
    assert "∞" in verdict.sentence


def test_claims_may_point_upward():
    verdict = judge(claim(direction="above"), "p", values(lambda w, s: w / 100))
    assert [r.state for r in verdict.widths] == ["fails", "fails", "holds", "holds"]
    assert verdict.fit is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (0.12345, "0.123"),
        (54740.2, "54740"),
        (1.4e5, "1.4e5"),
        (2.34e-7, "2.3e-7"),
        (math.inf, "∞"),
        (math.nan, "inconclusive"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_the_old_name_of_the_reason_works_and_warns():
    settings = {f.name: getattr(claim(), f.name) for f in fields(Claim) if f.name != "inconclusive"}
    with pytest.warns(DeprecationWarning, match="undecidable of a Claim is now inconclusive"):
        made = Claim(**settings, undecidable="too small to tell")
    assert made == claim()
    with pytest.warns(DeprecationWarning, match="undecidable of a Claim"):
        assert made.undecidable == "too small to tell"
