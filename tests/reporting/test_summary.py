"""The scorecard: claims by problems, and the sentence about each problem."""

from dataclasses import replace

import ntkgap as ng
from ntkgap.reporting.summary import Scorecard, bottom_line, seeds_note
from ntkgap.studies.verdict import judge

CLAIMS = {claim.key: claim for claim in ng.OptimizationStudy.preset("smoke").claims()}


def verdict(key, problem, kind=None, value=1e-6):
    claim = CLAIMS[key] if kind is None else replace(CLAIMS[key], kind=kind)
    return judge(claim, problem, {8: dict.fromkeys(range(3), value), 64: dict.fromkeys(range(3), value)})


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


def seeds_of(value, n=9):
    return {8: dict.fromkeys(range(n), value)}


def test_a_verdict_that_does_not_stand_among_many_says_so():
    """Nine seeds that agree are beyond chance among 47 verdicts, eight of nine are not."""
    clear = [judge(replace(CLAIMS["ngd_rate"], key=str(i)), "a", seeds_of(1e-6)) for i in range(6)]
    values = {8: {**dict.fromkeys(range(7), 1e-6), 7: float("nan"), 8: 9.0}}
    doubtful = judge(CLAIMS["ngd_rate"], "a", values)
    held = judge(CLAIMS["gd_curve"], "a", {8: {**dict.fromkeys(range(8), 1e-6), 8: 9.0}})
    card = Scorecard.of([*clear, doubtful, held])
    assert (doubtful.state, held.state) == ("inconclusive", "holds")
    assert [card.reservation(v) for v in (clear[0], doubtful, held)] == ["", "", ""]
    many = [judge(replace(CLAIMS["ngd_rate"], key=f"open {i}"), "a", values) for i in range(40)]
    card = Scorecard.of([*clear, *many, held])
    assert card.reservation(clear[0]) == ""
    assert card.reservation(held) == "may be chance among 47 verdicts"
    assert card.parts()[0].reservation(held) == "may be chance among 47 verdicts"


def test_where_none_stands_that_is_said_once():
    card = Scorecard.of([judge(CLAIMS[key], "a", seeds_of(1e-6, 5)) for key in ("ngd_rate", "gd_curve")])
    assert "none stands" in card.discoveries.sentence
    assert card.reservation(card.cells["ngd_rate", "a"]) == ""


def test_the_note_names_the_confidence_that_is_reached():
    assert "of 95% confidence." in seeds_note([judge(CLAIMS["ngd_rate"], "a", seeds_of(1.0, 8))])
    assert "with 5 seeds their confidence is 94%" in seeds_note([judge(CLAIMS["ngd_rate"], "a", seeds_of(1.0, 5))])
