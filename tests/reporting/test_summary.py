"""The scorecard: claims by problems, and the sentence about each problem."""

from dataclasses import replace

import ntkgap as ng
from ntkgap.reporting.summary import Scorecard, bottom_line
from ntkgap.studies.verdict import judge

CLAIMS = {claim.key: claim for claim in ng.OptimizationStudy.preset("smoke").claims()}


def verdict(key, problem, kind=None, value=1e-6):
    claim = CLAIMS[key] if kind is None else replace(CLAIMS[key], kind=kind)
    return judge(claim, problem, {8: {0: value, 1: value}, 64: {0: value, 1: value}})


def test_problems_without_a_claim_in_common_have_cards_of_their_own():
    card = Scorecard.of(
        [
            verdict("ngd_rate", "a"),
            verdict("gd_curve", "a"),
            verdict("gd_curve", "b"),
            verdict("kernel_constant", "c"),
        ]
    )
    assert [part.problems for part in card.parts()] == [["a", "b"], ["c"]]
    assert [claim.key for claim in card.parts()[0].claims] == ["ngd_rate", "gd_curve"]


def test_a_problem_that_links_two_others_joins_their_cards():
    linking = [verdict("ngd_rate", "c"), verdict("gd_curve", "c")]
    card = Scorecard.of([verdict("ngd_rate", "a"), verdict("gd_curve", "b"), *linking])
    (part,) = card.parts()
    assert part.problems == ["a", "b", "c"]


def test_the_bottom_line_speaks_of_conditions_only_where_one_was_judged():
    assert "condition" not in bottom_line(Scorecard.of([verdict("ngd_rate", "a")]), "a")
    judged = Scorecard.of([verdict("ngd_rate", "a"), verdict("gd_curve", "a", kind="condition")])
    assert "none of the sufficient conditions" in bottom_line(judged, "a")
