"""The first picture, and the charts' data: what they say is what was judged and measured."""

import csv
import io
from dataclasses import replace

import pytest

import ntkgap as ng
from ntkgap.reporting.charts.claims import claim_panels
from ntkgap.reporting.charts.measurements import curve_panels, thinned
from ntkgap.reporting.glossary import GLOSSARY, explained
from ntkgap.reporting.strips import LEFT, RIGHT, Answer, Strip, WidthAxis
from ntkgap.reporting.summary import Scorecard, how_sure
from ntkgap.studies import judge
from ntkgap.studies.figures import CurveFigure
from ntkgap.studies.measured import Measured
from ntkgap.studies.statistics import median_interval

STUDY = ng.OptimizationStudy.preset("smoke")
CLAIMS = {claim.key: claim for claim in STUDY.claims()}
HOLDS, FAILS, OPEN = [0.01, 0.015, 0.02], [0.8, 0.85, 0.9], [0.01, 0.5, 0.9]


def verdict(key, problem="a", **by_width):
    values = {int(name[1:]): dict(enumerate(seeds)) for name, seeds in by_width.items()}
    return judge(CLAIMS[key], problem, values)


@pytest.mark.parametrize(
    ("seeds", "style", "word", "parts"),
    [
        ((HOLDS, HOLDS, HOLDS), "holds", "yes", ["holds"] * 3),
        ((FAILS, HOLDS, HOLDS), "partly", "from 16", ["fails", "holds", "holds"]),
        ((FAILS, OPEN, FAILS), "fails", "no", ["fails", "inconclusive", "fails"]),
        ((HOLDS, HOLDS, OPEN), "inconclusive", "inconclusive", ["holds", "holds", "inconclusive"]),
    ],
)
def test_an_answer_is_the_verdict_at_every_width(seeds, style, word, parts):
    found = verdict("kernel_constant", w8=seeds[0], w16=seeds[1], w64=seeds[2])
    axis = WidthAxis.of([found])
    answer = Answer.of(found, axis)
    assert (answer.style, answer.word, answer.sentence) == (style, word, found.sentence)
    assert [s.style for s in answer.segments] == parts
    for segment, width in zip(answer.segments, (8, 16, 64), strict=True):
        assert segment.start < axis.place(width) < segment.end
        assert segment.text.startswith(f"width {width}: ")
    assert [a.end for a in answer.segments[:-1]] == [b.start for b in answer.segments[1:]]


def test_the_axis_is_logarithmic_and_the_same_for_all():
    axis = WidthAxis.of([verdict("gd_curve", w10=HOLDS, w1000=HOLDS), verdict("gd_curve", w100=HOLDS)])
    assert [axis.place(w) for w in (10, 100, 1000)] == pytest.approx([LEFT, (LEFT + RIGHT) / 2, RIGHT])
    assert [text for _, text in axis.ticks] == ["10", "1000"]
    assert WidthAxis.of([verdict("gd_curve", w8=HOLDS)]).place(8) == (LEFT + RIGHT) / 2


def test_an_extrapolated_width_is_an_arrow_beyond_the_axis():
    falling = {f"w{w}": [0.9 * (w / 8) ** -0.5 * f for f in (0.99, 1.0, 1.01)] for w in (8, 16, 32, 64, 128)}
    found = verdict("kernel_constant", **falling)
    assert found.extrapolated is not None
    crossing = Answer.of(found, WidthAxis.of([found])).crossing
    assert crossing.beyond
    assert crossing.low <= crossing.at <= crossing.high <= RIGHT


def test_the_sentence_counts_networks_by_outcome():
    verdicts = [verdict("gd_curve", p, w8=s) for p, s in (("a", HOLDS), ("b", FAILS), ("c", OPEN))]
    verdicts += [verdict("linearized_model", p, w8=FAILS) for p in "ab"]
    verdicts += [verdict("natural_gradient_steps", p, w8=[0.5, 1.0, 1.5]) for p in "ab"]
    strip = Strip.of(STUDY, Scorecard.of(verdicts), WidthAxis.of(verdicts), 3)
    assert strip.finding == [
        ("Confirmed on 1 of 3", CLAIMS["gd_curve"].headline),
        ("Refuted", CLAIMS["linearized_model"].headline),
        ("Inconclusive", CLAIMS["natural_gradient_steps"].headline),
    ]
    assert [row.question for row in strip.rows] == [
        v.claim.question for v in (verdicts[0], verdicts[3], verdicts[5])
    ]
    assert [a is None for a in strip.rows[1].answers] == [False, False, True]  # not asked of c


def test_claims_with_one_question_share_a_row():
    one, other = (replace(CLAIMS[key], question="Is it so?") for key in ("gd_curve", "linearized_model"))
    verdicts = [judge(one, "a", {8: dict(enumerate(HOLDS))}), judge(other, "b", {8: dict(enumerate(FAILS))})]
    strip = Strip.of(STUDY, Scorecard.of(verdicts), WidthAxis.of(verdicts), 2)
    (row,) = strip.rows
    assert [answer.word for answer in row.answers] == ["yes", "no"]


@pytest.mark.parametrize("study", [ng.OptimizationStudy, ng.UncertaintyStudy, ng.ContinualStudy])
def test_every_claim_asks_a_short_question(study):
    preset = study.preset("smoke")
    assert preset.promise.startswith("Theory: ")
    assert any(claim.headline for claim in preset.claims())
    for claim in preset.claims():
        assert claim.question.endswith("?")
        assert len(claim.question) < 80


def test_terms_are_explained_once_and_texts_stay_texts():
    known = set()
    html = explained("The NTK <b> of an ensemble; the NTK again", known)
    assert html.count("<abbr") == 2
    assert "&lt;b&gt;" in html
    assert GLOSSARY["NTK"][:20] in html
    assert known == {"NTK", "ensemble"}
    assert "<abbr" not in explained("the NTK", known)


def test_how_sure_names_seeds_confidence_and_chance():
    text = how_sure([Scorecard.of([verdict(key, w8=[0.01] * 5) for key in ("gd_curve", "linearized_model")])])
    assert "over 5 seeds" in text
    assert "94%" in text
    assert "of 2 answers" in text
    assert "not at all" in how_sure([Scorecard.of([verdict("gd_curve", w8=[0.01])])])


def measured(width, seed, scalars, curves):
    return Measured({"width": width, "seed": seed}, scalars, curves, [], False, 0.0)


def table(panel):
    return list(csv.DictReader(io.StringIO(panel.csv())))


def test_a_claims_chart_holds_medians_intervals_and_seeds():
    seeds = {8: [0.5, 0.2, float("inf")], 16: [0.1, 0.05, 0.2]}
    quantity = CLAIMS["kernel_constant"].quantity
    cells = [measured(w, i, {quantity: v}, {}) for w, values in seeds.items() for i, v in enumerate(values)]
    found = verdict("kernel_constant", **{f"w{w}": values for w, values in seeds.items()})
    (panel,) = claim_panels([found], {"a": cells})
    rows = table(panel)
    medians = {float(r["x"]): float(r["y"]) for r in rows if r["series"] == "measured"}
    assert medians == {w: median_interval(v).value for w, v in seeds.items()}
    assert sorted(float(r["y"]) for r in rows if r["series"] == "single seeds") == [0.05, 0.1, 0.2, 0.2, 0.5]
    assert panel.note == "Not drawn: diverged or stopped at width 8"
    assert "measured: 0.5 at 8, 0.1 at 16" in panel.words
    assert "limit 0.1: 0.1" in panel.words
    assert panel.record()["holds"] == "below"


def test_curves_are_thinned_with_both_ends():
    assert thinned(5, True) == [0, 1, 2, 3, 4]
    for even in (True, False):
        places = thinned(1000, even)
        assert (places[0], places[-1]) == (0, 999)
        assert 50 < len(places) <= 120
    spec = CurveFigure("k", "", "", "step", "loss", "loss", predicted="theory")
    cells = [measured(8, s, {}, {"loss": [1.0, 0.5 + s, 0.0], "theory": [1.0, 0.5]}) for s in range(3)]
    (panel,) = curve_panels(spec, {"a": cells})
    rows = [r for r in table(panel) if r["series"] == "width 8"]
    # The third step has no logarithm.
    assert [tuple(map(float, (r["x"], r["low"], r["y"], r["high"]))) for r in rows] == [
        (0, 1, 1, 1),
        (1, 0.5, 1.5, 2.5),
    ]
