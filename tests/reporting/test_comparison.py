import math
from dataclasses import replace

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from ntkgap.reporting.comparison import COLORS, MARKS, comparison_figure
from ntkgap.reporting.summary import Scorecard, bottom_line
from ntkgap.studies import judge
from ntkgap.studies.figures import ComparisonFigure, Line
from ntkgap.studies.measured import Measured
from ntkgap.studies.optimization.comparison_claims import make_comparison_claims
from ntkgap.studies.optimization.comparison_spec import METHODS
from ntkgap.studies.optimization.show import comparison_table

SPEC = ComparisonFigure(
    key="optimizers",
    title="",
    caption="",
    x_label="step",
    y_label="loss",
    lines=(Line("slow", "slow"), Line("fast", "fast", predicted="theory")),
    floor=1e-6,
    level="target",
    level_label="target",
)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def cell(width, seed, curves, **scalars):
    return Measured({"width": width, "seed": seed}, {"target": 0.1, **scalars}, curves, [], False, 0.0)


def drawn(figure):
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_methods_are_compared_at_the_widest_width_they_were_measured_at():
    curves = [{"fast": [1.0, f, 1e-9], "slow": [1.0, 0.5, 0.4]} for f in (0.1, 0.3, 0.2)]
    cells = [cell(8, 0, {"fast": [1.0, 0.9]}), *(cell(16, s, c) for s, c in enumerate(curves)), cell(32, 0, {})]
    figure = comparison_figure(SPEC, {"compared": cells, "not compared": [cell(32, 0, {})]})
    assert [ax.get_title() for ax in figure.axes] == ["compared, width 16"]
    lines = drawn(figure)
    assert lines["fast"].get_xdata().tolist() == [1, 2]
    assert lines["fast"].get_ydata().tolist() == [0.2, 1e-9]  # the median over seeds
    assert lines["target"].get_ydata() == [0.1, 0.1]
    assert figure.axes[0].get_ylim()[0] == SPEC.floor
    assert comparison_figure(SPEC, {"not compared": [cell(32, 0, {})]}) is None


def test_a_method_keeps_its_color_whoever_is_missing():
    both = drawn(comparison_figure(SPEC, {"p": [cell(8, 0, {"slow": [1.0, 0.5], "fast": [1.0, 0.1]})]}))
    alone = drawn(comparison_figure(SPEC, {"p": [cell(8, 0, {"fast": [1.0, 0.1], "theory": [1.0, 0.2, 0.1]})]}))
    assert both["fast"].get_color() == alone["fast"].get_color() == COLORS[1] != both["slow"].get_color()
    assert alone["fast, by K(θ₀)"].get_ydata().tolist() == [0.2, 0.1]
    assert len(METHODS) <= len(set(COLORS)) == len(COLORS)
    assert len(set(MARKS)) == len(COLORS)
    assert all(mpl.colors.is_color_like(color) for color in COLORS)


def test_over_seconds_the_clocks_median_is_the_axis():
    spec = replace(SPEC, lines=(Line("fast", "fast", seconds="clock"),), level=None)
    cells = [
        cell(8, s, {"fast": [1.0, 0.5, 0.1], "clock": [0.0, t, 2 * t]}) for s, t in enumerate((1.0, 5.0, 3.0))
    ]
    assert drawn(comparison_figure(spec, {"p": cells}))["fast"].get_xdata().tolist() == [3.0, 6.0]


def compared(seed, steps):
    names = ("race_gd_final", "race_gd_test_final", "seconds_race_gd")
    return cell(16, seed, {}, race_gd_steps=steps, **dict.fromkeys(names, 0.5), race_ngd_steps=math.nan)


def test_the_table_shows_what_was_compared_at_the_widest_width():
    tables = comparison_table(
        {"p": [compared(0, 10.0), compared(1, 30.0), compared(2, math.inf), cell(32, 0, {})], "q": []}
    )
    assert [table.title for table in tables] == ["Optimizers at width 16: p"]
    rows = {row[0]: dict(zip(tables[0].columns, row, strict=True)) for row in tables[0].rows}
    assert list(rows) == ["gradient descent", "natural gradient"]
    assert rows["gradient descent"]["steps to target"] == "30 [10, ∞]"
    assert rows["gradient descent"]["loss in the end"] == "0.5"
    assert rows["gradient descent"]["learning rate"] == "–"  # not recorded
    assert rows["natural gradient"]["steps to target"] == "–"


def test_claims_judged_at_fewer_widths_are_said_to_be_and_are_not_counted_at_larger_ones():
    everywhere, compared_only = (replace(claim, kind="consequence") for claim in make_comparison_claims())
    ratios = dict.fromkeys(range(3), 0.5)
    verdicts = [
        judge(everywhere, "p", {8: ratios, 16: ratios}),
        judge(compared_only, "p", {8: ratios}),
        judge(everywhere, "q", {8: ratios}),
    ]
    card = Scorecard.of(verdicts)
    assert card.row(compared_only) == [verdicts[1]]  # not on the other problem
    assert card.widths("p") == (8, 16)
    assert [card.reach(v) for v in verdicts] == ["", "judged up to width 8", ""]
    assert "At width 16" in bottom_line(card, "p")
    assert "1 of 1 predictions" in bottom_line(card, "p")


def test_what_pays_is_no_prediction_of_the_theory():
    claim, _ = make_comparison_claims()
    line = bottom_line(Scorecard.of([judge(claim, "p", {8: dict.fromkeys(range(3), 0.5)})]), "p")
    assert "prediction" not in line


def test_a_line_says_how_many_seeds_it_stands_for():
    some = [cell(8, s, {"slow": [1.0, 0.5]} | ({"fast": [1.0, 0.1]} if s < 2 else {})) for s in range(5)]
    assert {"slow", "fast (2 of 5 seeds)"} < set(drawn(comparison_figure(SPEC, {"p": some})))
    figure = comparison_figure(SPEC, {"p": some[:2], "q": some})
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["slow", "fast", "target", "fast (2 of 5 seeds, panel 2)"]
    some[0].curves["theory"] = [1.0, 0.2]
    assert "fast, by K(θ₀) (1 of 5 seeds)" in drawn(comparison_figure(SPEC, {"p": some}))
