"""What would decide an inconclusive verdict: seeds, width and time."""

import math
import re

import pytest

import ntkgap as ng
from ntkgap.studies.looks import deciding_chance
from ntkgap.studies.measured import Measured
from ntkgap.studies.remedies import remedies, remedy
from ntkgap.studies.statistics import RECOMMENDED_SEEDS, interval_rank, median_interval
from ntkgap.studies.verdict import judge

STUDY = ng.OptimizationStudy.preset("smoke")
CLAIM = next(c for c in STUDY.claims() if c.key == "kernel_constant")  # below 0.1


def cells(by_width, seconds=10.0):
    return [
        Measured({"width": w, "seed": s}, {CLAIM.quantity: v}, {}, [], False, seconds)
        for w, values in by_width.items()
        for s, v in enumerate(values)
    ]


def said(by_width, **settings):
    verdict = judge(CLAIM, "a", {w: dict(enumerate(values)) for w, values in by_width.items()})
    return remedy(STUDY, verdict, cells(by_width, **settings))


def test_a_decided_verdict_needs_nothing():
    assert said({8: [0.01] * 6}) == ""
    assert said({8: [0.5] * 6}) == ""


def test_seeds_and_time_are_those_of_the_smallest_number_that_is_likely_to_decide():
    text = said({8: [0.01, 0.02, 0.03, 0.04, 0.05, 0.2]})
    n = int(re.search(r"About (\d+) seeds", text).group(1))
    chances = {m: deciding_chance([1] * 5 + [-1], m, interval_rank(m)) for m in RECOMMENDED_SEEDS if m > 6}
    assert n == min(m for m, chance in chances.items() if chance >= 0.5)
    assert f"{n - 6} more at width 8, about {10 * (n - 6)} s" in text


def test_a_value_at_its_limit_is_not_worth_more_seeds():
    text = said({8: [0.05, 0.06, 0.07, 0.13, 0.14, 0.15]})
    assert "near its limit: even 20 seeds" in text


def test_seeds_that_cannot_be_decided_stay_so():
    assert CLAIM.inconclusive in said({8: [math.nan] * 4 + [0.01] * 2})


def test_a_trend_names_the_width_at_which_the_interval_would_be_clear():
    """Values fall like width^−½: at the width named, the upper end of the interval is at the limit."""
    by_width = {w: [v * (256 / w) ** 0.5 for v in (0.05, 0.06, 0.09, 0.11, 0.13, 0.14)] for w in (16, 64, 256)}
    width = float(re.search(r"a width of about (\d+)", said(by_width)).group(1))
    end = median_interval(by_width[256]).high
    assert end * (256 / width) ** 0.5 == pytest.approx(0.1, rel=0.01)
    rising = {w: [v * (w / 256) ** 0.5 for v in by_width[256]] for w in (16, 64, 256)}
    width = float(re.search(r"a width of about (\d+)", said(rising)).group(1))
    assert median_interval(rising[256]).low * (width / 256) ** 0.5 == pytest.approx(0.1, rel=0.01)


def test_a_comparison_of_widths_costs_the_narrower_networks_too():
    study = ng.ContinualStudy.preset("smoke")
    claim = next(c for c in study.claims() if c.key == "width_helps_converged")
    seeds = [-0.2, 0.05, 0.06, 0.07, 0.08, 0.09]
    of_wide = [
        Measured({"width": 64, "seed": s}, {claim.quantity: v}, {}, [], False, 10.0) for s, v in enumerate(seeds)
    ]
    of_narrow = [Measured({"width": 8, "seed": s}, {}, {}, [], False, 5.0) for s in range(6)]
    verdict = judge(claim, "a", {64: dict(enumerate(seeds))})
    found = remedies(study, [verdict], {"a": of_wide + of_narrow})[claim.key, "a"]
    more = int(re.search(r"(\d+) more", found).group(1))
    assert f"about {15 * more} s" in found
