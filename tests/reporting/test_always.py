"""A report that always comes: strange names, terminals that cannot print, links in the way."""

import io
import os
import sys
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

import ntkgap as ng
from ntkgap import cli
from ntkgap.errors import StoreError
from ntkgap.reporting import print_scorecard
from ntkgap.reporting.tables import csv_text
from ntkgap.studies import assess
from ntkgap.texts import spreadsheet_text, terminal_text
from tests.here import Here

NAME = "=1+1 $\\foo$ [red]x[/red] \x1b[31m\u202e<b>"
PROBLEM = {
    "name": NAME,
    "model": {"architecture": "shallow", "nonlinearity": "relu"},
    "data": {"name": "sphere", "n_train": 4, "n_test": 3, "options": {"dim": 3}},
    "widths": [4, 8],
    "natural_gradient": {"steps": 2},
    "gradient_descent": {"steps": 2},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    study = ng.OptimizationStudy(seeds=[0, 1], problems=[PROBLEM])
    return ng.run(study, tmp_path_factory.mktemp("store") / "s", engine=Here(), progress=False)


def test_a_name_may_be_anything(runs, tmp_path, monkeypatch):
    """In PDFs of a few claims and of one figure of each kind: the others are drawn by the same functions."""
    study = type(ng.OptimizationStudy.preset("smoke"))
    claims, figures = study.claims, study.figures
    monkeypatch.setattr(study, "claims", lambda self: claims(self)[:4])
    monkeypatch.setattr(study, "figures", lambda self: list({type(f): f for f in figures(self)}.values()))
    page = ng.report(runs, tmp_path / "report.html", pdf=True).read_text()
    assert "[red]x[/red]" in page
    assert "\u202e<b>" not in page  # but escaped
    assert "\u202e&lt;b&gt;" in page
    assert len(list((tmp_path / "figures").glob("optimization-*.pdf"))) > 5
    table = pd.read_csv(tmp_path / "results.csv")
    assert set(table.problem) == {f"'{NAME}"}
    monkeypatch.undo()
    for name in ("kernel_constant", "ngd_curves"):
        runs.plot(name)


def test_cells_that_a_spreadsheet_would_compute_are_texts():
    for text in ("=1", "+1", "-1", "@SUM", "\t=1"):
        assert spreadsheet_text(text) == f"'{text}"
    assert spreadsheet_text("a=1") == "a=1"
    table = pd.DataFrame({"=a": ["=1", "b"], "n": [-1.5, 2.0], "mixed": [-1, "-x"]})
    assert csv_text(table) == "'=a,n,mixed\n'=1,-1.5,-1\nb,2.0,'-x\n"


def test_terminals_get_no_commands(runs):
    assert terminal_text("a\x1b[31m\x9b\x07\nb\u202e é✓") == "a�[31m��\nb� é✓"
    console = Console(record=True, width=200, file=io.StringIO(), force_terminal=False)
    print_scorecard(assess(runs), console, "The promise")
    text = console.export_text()
    assert "\x1b" not in text
    assert "[red]x[/red] �[31m�<b>" in text.replace("\n", "")


@pytest.mark.parametrize("broken", ["ascii", "pipe", "full"])
def test_what_is_wrong_with_the_terminal_does_not_lose_the_page(runs, tmp_path, broken):
    """In a process of its own, which ends as that of the command line does."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        end = 77
        try:
            os.close(read)
            os.dup2(os.open("/dev/full", os.O_WRONLY) if broken == "full" else write, 1)
            os.dup2(os.open(tmp_path / "err", os.O_WRONLY | os.O_CREAT), 2)
            os.close(write)
            sys.stdout = os.fdopen(1, "w", encoding="ascii" if broken == "ascii" else "utf-8", closefd=False)
            sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
            sys.argv = ["ntkgap", "report", str(runs.path), "--out", str(tmp_path / "report.html")]
            cli.main()
            end = 0
        except SystemExit as left:
            end = left.code or 0
        finally:
            sys.stderr.flush()
            os._exit(end)
    os.close(write)
    printed = b""
    if broken != "pipe":
        while part := os.read(read, 1 << 16):
            printed += part
    os.close(read)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (0 if broken == "ascii" else 1)
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert (tmp_path / "report.html").stat().st_size > 5e5
    assert (tmp_path / "results.csv").is_file()
    assert printed.isascii()
    assert (b"report.html" in printed) == (broken == "ascii")


def test_links_are_replaced_and_not_followed(runs, tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (outside / "precious").write_text("precious")
    for name in ("report.html", "results.csv", "verdicts.json"):
        (folder / name).symlink_to(outside / "precious")
    ng.report(runs, folder / "report.html")
    assert (outside / "precious").read_text() == "precious"
    assert not any((folder / name).is_symlink() for name in ("report.html", "results.csv", "verdicts.json"))
    (folder / "figures").symlink_to(outside)
    with pytest.raises(StoreError, match="is a link"):
        ng.report(runs, folder / "report.html", pdf=True)
    assert [p.name for p in outside.iterdir()] == ["precious"]


def test_a_study_of_ones_own_needs_no_headlines(runs, monkeypatch, tmp_path):
    """Then its first claims are in the picture, by their titles."""
    study = type(ng.OptimizationStudy.preset("smoke"))
    claims = study.claims
    plain = lambda self: [replace(c, question=c.title, headline="") for c in claims(self)]  # noqa: E731
    monkeypatch.setattr(study, "claims", plain)
    text = ng.report(runs, tmp_path / "report.html").read_text()
    first = text.partition("<nav")[0]
    assert first.count('<th scope="row">') == 5
