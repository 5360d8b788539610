import html
import io
import json
import re
import shutil

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console

import ntkgap as ng
from ntkgap.errors import StoreError
from ntkgap.reporting import drawings, print_scorecard
from ntkgap.reporting.axis_figure import axis_figure
from ntkgap.reporting.variations import axis_line, axis_sections, most_moved
from ntkgap.studies import assess, assess_variations
from ntkgap.studies.axes import judge_along
from tests.studies.test_variations import HIGH, LOW, along, claim, measure, study

mpl.use("Agg")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return measure(study(), tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory):
    """The report, with files of the figures along axes; those of claims are tested elsewhere, and take long."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "claim_figure", lambda *_: Figure())
        patch.setattr(drawings, "draw", lambda *_: None)
        ng.report(runs, folder / "report.html", pdf=True)
    return folder


def test_the_page_shows_every_axis_with_its_sentences(folder, runs):
    page = html.unescape((folder / "report.html").read_text())
    assert "Other settings, at a fixed width" in page
    for verdict in assess_variations(runs):
        assert verdict.sentence in page
    assert "tiny: α, at width 16" in page
    assert re.search(r"<th>α</th><th>0.5</th><th>1 \(as above\)</th><th>10</th>", page)
    assert "(Chizat, Oyallon, Bach 2019)" in page
    assert "tiny: parametrization, at width 16" in page
    for i in (1, 2):
        assert (folder / f"figures/optimization-axis-{i}.pdf").read_bytes().startswith(b"%PDF")
        assert f'href="figures/optimization-axis-{i}.pdf"' in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_tables_tell_varied_cells_apart(folder, runs):
    table = pd.read_csv(folder / "results.csv", keep_default_na=False)
    assert list(table.columns[:5]) == ["study", "problem", "width", "seed", "variation"]
    assert sorted(set(table.variation)) == [
        "",
        "model.alpha=0.5",
        "model.alpha=10.0",
        "model.parametrization=standard",
    ]
    records = json.loads((folder / "verdicts.json").read_text())
    over_width = [r for r in records if r["axis"] == "width"]
    along_axes = [r for r in records if r["axis"] != "width"]
    assert [r["claim"] for r in over_width] == [v.claim.key for v in assess(runs)]
    for record, verdict in zip(along_axes, assess_variations(runs), strict=True):
        along = verdict.along
        assert (record["axis"], record["label"], record["width"]) == (along.axis, along.label, 16)
        assert (record["own"], record["state"]) == (along.own, None)
        assert {p["at"]: p["state"] for p in record["points"]} == {k: r.state for k, r in verdict.results.items()}
        assert all(p["seeds"] == 2 for p in record["points"])
    assert {tuple(r) for r in records} == {tuple(records[0])}  # all have the same keys


def test_the_terminal_has_a_line_an_axis(runs):
    console = Console(record=True, width=160, file=io.StringIO())
    verdicts = assess_variations(runs)
    print_scorecard(assess(runs), console, "The promise", verdicts)
    text = console.export_text()
    for section in axis_sections(verdicts, {}):
        assert f"tiny, {axis_line(section)}" in text


def test_a_line_counts_the_claims_that_hold_at_every_value():
    values = {0.1: HIGH, 1.0: LOW, 10.0: LOW}
    verdicts = [judge_along(claim(), along(values, 1.0)), judge_along(claim(threshold=0.01), along(values, 1.0))]
    (section,) = axis_sections(verdicts, {"model.alpha": "a note"})
    assert section.note == "a note"
    assert axis_line(section) == "over α at width 64, claims that hold: 0 of 2 at 0.1, 1 of 2 at 1, 1 of 2 at 10"


def test_figures_show_what_the_axis_moves_most():
    spans = {"still": 1.01, "some": 3.0, "much": 100.0, "more": 10.0, "all": 1000.0}
    verdicts = [judge_along(claim(key=k), along({1.0: [1.0, 1.0], 2.0: [s, s]}, 1.0)) for k, s in spans.items()]
    inconclusive = judge_along(claim(key="nan"), along({1.0: [float("nan")], 2.0: [1.0]}, 1.0))
    diverged = judge_along(claim(key="inf"), along({1.0: [float("inf")], 2.0: [float("inf")]}, 1.0))
    chosen = most_moved([inconclusive, diverged, *verdicts], 3)
    assert [v.claim.key for v in chosen] == ["much", "more", "all"]
    pair = [judge_along(claim(key=k), along({1.0: LOW, 2.0: HIGH}, 1.0)) for k in ("first", "second")]
    assert [v.claim.key for v in most_moved([*verdicts, *pair], 9)] == [*spans, "first"]


@pytest.mark.parametrize(
    ("values", "own", "scale"),
    [
        ({0.1: HIGH, 1.0: LOW, 10.0: [float("inf"), 1.0]}, 1.0, "log"),
        ({0.0: HIGH, 1.0: LOW}, 0.0, "linear"),
        ({"ntk": HIGH, "mup": [float("nan"), 1.0]}, "ntk", "linear"),
        ({None: LOW, 0.5: HIGH}, None, "linear"),
        ({False: LOW, True: [float("inf")] * 2}, False, "linear"),
        ({1.0: [float("inf")] * 2, 2.0: [float("nan")] * 2}, 1.0, "log"),
    ],
)
def test_figures_have_a_place_for_every_value(values, own, scale):
    verdict = judge_along(claim(), along(values, own))
    (section,) = axis_sections([verdict], {})
    figure = axis_figure(section)
    (ax,) = figure.axes
    assert ax.get_xscale() == scale
    assert len(ax.get_xticks()) == len(values)
    low, high = ax.get_xlim()
    assert all(low < x < high for x in ax.get_xticks())
    missing = any(q != q or q == float("inf") for seeds in values.values() for q in seeds)
    assert (ax.get_legend() is not None) == missing


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of a panel with a single point
def test_where_only_varied_cells_are_done_the_page_shows_their_axes(tmp_path):
    runs = measure(study(seeds=[0]), tmp_path / "store")
    for cell in runs.cells:
        if not cell.cell["variation"]:
            (cell.directory / "result.json").unlink()
    runs = ng.Runs(tmp_path / "store")
    page = html.unescape(ng.report(runs, tmp_path / "report.html").read_text())
    assert "only variations are shown" in page
    assert "Claim by claim" not in page
    assert "tiny: α, at width 16" in page
    assert len(re.findall('data-chart="optimization-axis-[12]-', page)) == page.count('data-chart="') > 2
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'\bid="([^"]+)"', page))
    console = Console(record=True, width=160, file=io.StringIO())
    print_scorecard(assess(runs), console, "The promise", assess_variations(runs))
    assert "over α at width 16, claims that hold" in console.export_text()


def test_cells_that_belong_to_nothing_are_no_report(tmp_path):
    runs = measure(study({"model.alpha": [10]}, seeds=[0]), tmp_path / "store")
    for cell in runs.cells:
        if not cell.cell["variation"]:
            shutil.rmtree(cell.directory)
    with pytest.raises(StoreError, match="belong to no problem and no axis"):
        ng.report(ng.Runs(tmp_path / "store"), tmp_path / "report.html")


def test_values_with_fewer_seeds_than_others_say_so():
    (section,) = axis_sections([judge_along(claim(), along({1.0: [1, 2], 2.0: [1, 2, 3], 4.0: [1]}, 1.0))], {})
    assert section.headings == ["1 (as above, 2 seeds)", "2", "4 (1 seed)"]
    (section,) = axis_sections([judge_along(claim(), along({1.0: LOW, 2.0: HIGH}, 1.0))], {})
    assert section.headings == ["1 (as above)", "2"]
