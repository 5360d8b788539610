"""A report overwrites nothing but earlier reports of the same stores."""

import shutil
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import ntkgap as ng
from ntkgap import cli
from ntkgap.errors import StoreError
from tests.here import Here
from tests.test_results import PROBLEM


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    problem = {k: v for k, v in PROBLEM.items() if k != "variations"}
    study = ng.OptimizationStudy(seeds=[0, 1], problems=[problem])
    ng.run(study, folder / "A", engine=Here(), progress=False)
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """Two stores, A and B."""
    for name in "AB":
        shutil.copytree(made / "A", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def blank_figures(monkeypatch):
    """Where PDFs go is tested here; what they show is tested elsewhere, and takes long."""
    monkeypatch.setattr("ntkgap.reporting.drawings.claim_figure", lambda *_: Figure())
    monkeypatch.setattr("ntkgap.reporting.drawings.draw", lambda *_: Figure())


def written(folder):
    names = ("report.html", "results.csv", "verdicts.json")
    return {name: (folder / name).stat().st_mtime_ns for name in names if (folder / name).exists()}


def test_by_itself_a_report_goes_into_its_store(here):
    assert ng.report(ng.Runs("A")) == Path("A/report.html")
    assert len(written(here / "A")) == 3
    assert ng.report(ng.Runs("A")) == Path("A/report.html")  # and again


@pytest.mark.usefixtures("blank_figures")
def test_a_folder_is_made(here):
    assert ng.report(ng.Runs("A"), "new/one") == Path("new/one/report.html")
    assert len(written(here / "new/one")) == 3
    ng.report(ng.Runs("A"), "new/one", pdf=True)
    assert (here / "new/one/figures").is_dir()
    with pytest.raises(StoreError, match=r"results.csv is of something else; write this report into a folder"):
        ng.report(ng.Runs("B"), "new/one")
    with pytest.raises(StoreError, match="of something else"):
        ng.report(ng.Runs("B"), "new/one/another.html")
    assert ng.report([ng.Runs("A"), ng.Runs("B")], "new/one").is_file()  # more of the same


def test_files_of_the_user_are_left_alone(here):
    (here / "results.csv").write_text("mine")
    with pytest.raises(StoreError, match="of something else"):
        ng.report(ng.Runs("A"), "page.html")
    assert (here / "results.csv").read_text() == "mine"
    assert not (here / "page.html").exists()


@pytest.mark.usefixtures("blank_figures")
def test_several_stores_go_beside_the_first(here, monkeypatch, capsys):
    for name in "AB":
        ng.report(ng.Runs(name))
    before = {name: written(here / name) for name in "AB"}
    with pytest.raises(StoreError, match="A is a store, and a report of others would overwrite its own"):
        ng.report([ng.Runs("A"), ng.Runs("B")], "A/report.html")
    monkeypatch.setattr(sys, "argv", ["ntkgap", "report", "A", "B", "--pdf"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert "report_of_A_and_B/report.html" in capsys.readouterr().out
    assert {name: written(here / name) for name in "AB"} == before
    figures = [file.name for file in (here / "report_of_A_and_B/figures").iterdir()]
    assert len([f for f in figures if f.startswith("optimization-2-")]) == len(figures) / 2


def test_what_moves_together_is_reported_again(here):
    (here / "all").mkdir()
    for name in "AB":
        shutil.move(here / name, here / "all" / name)
    both = lambda folder: [ng.Runs(folder / name) for name in "AB"]  # noqa: E731
    ng.report(both(here / "all"), here / "all/report.html")
    shutil.move(here / "all", here / "moved")
    page = ng.report(both(here / "moved"), here / "moved/report.html")
    # Pages of versions that did not say of which stores they are.
    text = page.read_text()
    start = text.index('<meta name="ntkgap-stores"')
    page.write_text(text[:start] + text[text.index(">", start) + 1 :])
    ng.report(both(here / "moved"), page)
