import html
import io
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import ntkgap as ng
from ntkgap.errors import StoreError
from ntkgap.reporting import print_scorecard
from ntkgap.reporting.figures import power_of_ten, seed_range
from ntkgap.reporting.rendering import library, script_hash
from ntkgap.reporting.summary import Scorecard, bottom_line
from ntkgap.studies import assess
from ntkgap.studies.discoveries import control
from ntkgap.sweep.files import number
from tests.here import Here


def study(**changes):
    """The preset at three widths, with a short optimizer comparison."""
    configuration = ng.OptimizationStudy.preset("smoke", widths=[16, 32, 64], **changes).configuration()
    configuration["problems"][1]["race"] |= {"steps": 10, "second_order_steps": 2}
    return ng.OptimizationStudy.build(configuration)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return ng.run(study(seeds=[0, 1, 2]), tmp_path_factory.mktemp("store"), workers=1, progress=False)


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    ng.report(runs, folder / "report.html", pdf=True)
    return folder


def test_the_page_needs_nothing_but_itself(folder):
    whole = (folder / "report.html").read_text()
    # Scripts are those of the package, letter by letter, and the browser is told to run no other.
    scripts = re.findall(r"<script>(.*?)</script>", whole, re.DOTALL)
    assert tuple(scripts[: len(library())]) == library()
    allowed = re.search('script-src ([^"]*)"', whole).group(1).split()
    assert allowed == [f"'sha256-{script_hash(script)}'" for script in scripts]
    assert "default-src 'none'" in whole
    page = re.sub(r"<script>.*?</script>", "", whole, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert not re.search(r"@import|<link", page)
    # Links inside the page lead somewhere, links beside it too.
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', page):
        assert target in ids
    for target in set(re.findall(r'<a href="([^"#][^"]*)"', page)):
        assert (folder / target).is_file(), target


def test_the_page_shows_every_verdict_and_figure(folder, runs):
    page = (folder / "report.html").read_text()
    verdicts = assess(runs)
    assert control(verdicts).sentence in html.unescape(page)
    for verdict in verdicts:
        assert verdict.claim.title in html.unescape(page)
        assert verdict.trend is None or verdict.trend.text in html.unescape(page)
        assert verdict.status in page
        assert verdict.sentence in html.unescape(page)
        assert verdict.claim.question in html.unescape(re.sub(r"</?abbr[^>]*>", "", page))
    assert sum(verdict.trend is not None for verdict in verdicts) > len(verdicts) / 2
    claims = {v.claim.key for v in verdicts}
    figures = {f.key for f in ng.OptimizationStudy.preset("smoke").figures()} - {"own_curves"}
    assert set(re.findall(r'<details class="part" id="optimization-figure-(.+?)"', page)) == figures
    for key in claims | {f"figure-{key}" for key in figures}:
        section = page.partition(f'id="optimization-{key}"')[2].partition("</figure>")[0]
        # Seconds of so short a comparison leave open who was first, with every seed.
        empty = key == "natural_gradient_seconds" and "Nothing to draw" in section
        assert empty or f'data-chart="optimization-{key}-1" role="img" aria-label=' in section
    records = json.loads(re.search(r'id="records">(.*?)</script>', page).group(1))
    assert set(records) == set(re.findall(r'data-chart="(.+?)"', page))
    for key in claims:
        pdf = (folder / "figures" / f"optimization-{key}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF")


def test_of_several_runs_all_answers_come_first_and_nothing_overwrites_another(runs, tmp_path):
    alone = ng.report(runs, tmp_path / "alone.html").read_text()
    assert "figures/" not in alone
    assert not (tmp_path / "figures").exists()  # PDFs are written on request
    text = ng.report([runs, runs], tmp_path / "both.html").read_text()
    strips = [m.start() for m in re.finditer('class="study"', text)]
    bodies = [m.start() for m in re.finditer('class="body"', text)]
    assert len(strips) == len(bodies) == 2
    assert max(strips) < min(bodies)
    ids = re.findall(r'\bid="([^"]+)"', re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    assert len(ids) == len(set(ids))
    assert {"optimization", "optimization-2"} <= set(ids)
    assert {r["study"] for r in json.loads((tmp_path / "verdicts.json").read_text())} == {
        "optimization",
        "optimization-2",
    }


def test_tables_hold_what_the_page_shows(folder, runs):
    table = pd.read_csv(folder / "results.csv")
    assert len(table) == 18
    assert set(table.state) == {"done"}
    assert list(table.columns[:4]) == ["study", "problem", "width", "seed"]
    records = json.loads((folder / "verdicts.json").read_text())
    assert [(r["claim"], r["problem"], r["status"]) for r in records] == [
        (v.claim.key, v.problem, v.status) for v in assess(runs)
    ]
    for record, verdict in zip(records, assess(runs), strict=True):
        trend = record["trend"]
        assert (trend is None) == (verdict.trend is None)
        if trend is not None:
            assert (trend["slope"]["value"], trend["p"]) == (verdict.trend.slope.value, verdict.trend.p)
        assert [p["seeds"] for p in record["points"]] == [3] * len(record["points"])
        values = table[table.problem == record["problem"]].groupby("width")[record["quantity"]]
        for point in record["points"]:
            seeds = values.get_group(point["at"])
            expected = math.nan if seeds.isna().any() else seeds.median()
            np.testing.assert_allclose(math.nan if point["value"] is None else number(point["value"]), expected)
    judged = {len(r["points"]) for r in records if r["claim"] == "natural_gradient_steps"}
    assert judged == {2}  # only the smaller networks of one problem are compared


def copied(runs, folder):
    """The same results in a store of their own: to compute them anew takes longer than what is tested."""
    shutil.copytree(runs.path, folder / "store")
    return ng.Runs(folder / "store")


def test_two_runs_give_identical_tables(folder, runs, tmp_path):
    """Half of the cells computed anew, by another process."""
    for cell in copied(runs, tmp_path).cells:
        if cell.cell["seed"] == 1:
            (cell.directory / "result.json").unlink()
    again = ng.run(study(seeds=[0, 1]), tmp_path / "store", workers=1, progress=False)
    ng.report(again, tmp_path / "report.html")
    first, second = (pd.read_csv(f / "results.csv") for f in (folder, tmp_path))
    clock = [column for column in first if column.startswith("seconds")]
    assert len(clock) > 1
    pd.testing.assert_frame_equal(first.drop(columns=clock), second.drop(columns=clock), check_exact=True)
    records = [json.loads((f / "verdicts.json").read_text()) for f in (folder, tmp_path)]
    assert len(records[0]) == len(records[1])
    for one, other in zip(*records, strict=True):
        if not one["quantity"].startswith("seconds"):  # read from a clock, never the same twice
            assert one == other


def test_the_terminal_tells_the_same(runs):
    console = Console(record=True, width=160, file=io.StringIO())
    verdicts = assess(runs)
    print_scorecard(verdicts, console, "The promise")
    text = console.export_text()
    assert "would be wrong by chance alone" in text
    assert "∝ width^" in text
    for verdict in verdicts:
        assert verdict.status.split(" from")[0] in text
    card = Scorecard.of(verdicts)
    for problem in card.problems:
        assert bottom_line(card, problem)[:40] in text


def test_an_unfinished_store_gives_an_interim_report(runs, tmp_path):
    runs = copied(runs, tmp_path)
    (runs.cells[0].directory / "result.json").unlink()
    page = ng.report(ng.Runs(tmp_path / "store"), tmp_path / "report.html").read_text()
    assert "1 of 18 cells is not computed yet" in page
    for cell in runs.cells[1:]:
        (cell.directory / "result.json").unlink()
    with pytest.raises(StoreError, match="nothing to report"):
        ng.report(ng.Runs(tmp_path / "store"), tmp_path / "report.html")


def test_cells_of_other_settings_are_another_problem(tmp_path):
    """A store may be extended by a changed preset: its cells must not be pooled with the old ones."""
    preset = ng.OptimizationStudy.preset("smoke", seeds=[0, 1], problems=["shallow"], widths=[16, 64])
    ng.run(preset, tmp_path, engine=Here(), progress=False)
    changed = preset.configuration()
    changed["problems"][0]["gradient_descent"]["steps"] = 5
    runs = ng.run(ng.OptimizationStudy.build(changed), tmp_path, engine=Here(), progress=False)
    assert {v.problem for v in assess(runs)} == {
        "shallow ReLU, sphere (gradient_descent.steps 30)",
        "shallow ReLU, sphere (gradient_descent.steps 5)",
    }


def test_figures_do_not_stumble_over_missing_numbers():
    low, middle, high = seed_range([[1.0, np.inf, np.nan, 0.0], [3.0, 5.0, np.nan]], positive=True)
    np.testing.assert_array_equal(low, [1.0, 5.0, np.nan, np.nan])
    np.testing.assert_array_equal(middle, [2.0, 5.0, np.nan, np.nan])
    np.testing.assert_array_equal(high, [3.0, 5.0, np.nan, np.nan])
    assert power_of_ten(1e-12) == "10⁻¹²"
    assert power_of_ten(0.5) == "0.5"
