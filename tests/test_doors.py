"""The command line given what nobody should give it, and the fuzzers of ``fuzzing`` for some seconds."""

import json
import os
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

import ntkgap as ng
from ntkgap.cli.options import parse_integers
from ntkgap.errors import NtkgapError, StoreError, StudyError
from ntkgap.reporting import print_preview, print_scorecard
from ntkgap.studies import STUDIES, cost
from ntkgap.sweep.progress import Bar
from tests.fuzzing.attempts import Hung, Refused, attempt, no_longer_than, sandbox
from tests.fuzzing.data_files import fuzz_data
from tests.fuzzing.kinds import KINDS

NAME = "[/red] a [link=x] :smile: 50 % $x^{$"
PRESET = """
seeds: [0]
problems:
  - name: {name!r}
    model: {{architecture: shallow}}
    data: {{name: sphere, n_train: 4, n_test: 4, options: {{dim: 3}}}}
    widths: [4, 8]
    natural_gradient: {{steps: 2}}
    gradient_descent: {{steps: 2}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "home").mkdir()
    return tmp_path


def said(capsys, *arguments):
    """What the command line prints."""
    from ntkgap import cli

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["ntkgap", *arguments])
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        else:
            status = 0
    assert status in (0, None, 1)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out + err


@pytest.fixture
def tried(monkeypatch):
    """Cells are tried without a worker, in no time."""
    monkeypatch.setattr(cost, "try_cells", lambda study, cells, limit: [(cell, 0.1) for cell in cells])


@pytest.mark.usefixtures("in_process", "tried")
def test_names_are_printed_as_they_are(here, capsys):
    name = NAME
    (here / "mine.yaml").write_text(PRESET.format(name=name))
    store = f"runs/{name}"
    arguments = ("run", "optimization", "--preset", "mine.yaml", "--store", store)
    planned = said(capsys, *arguments, "--dry-run")
    assert name in planned
    assert f"into {store}" in planned
    done = said(capsys, *arguments, "--workers", "1")
    assert name in done
    assert f"{store}/report.html" in done
    assert f"{store} (optimization" in said(capsys, "status", store)
    assert name in said(capsys, "report", store)
    assert name in said(capsys, "run", "--preset", name)
    assert name in said(capsys, "status", name)


@pytest.mark.usefixtures("tried")
def test_printing_into_a_console_of_ones_own(here):
    name = NAME
    (here / "mine.yaml").write_text(PRESET.format(name=name))
    console = Console(width=300, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    print_preview(ng.OptimizationStudy.preset("mine.yaml"), Path(name), console)
    print_scorecard([], console, name)
    bar = Bar(console, 1)
    with bar:
        bar.advance(name, "done")
        bar.advance(name, "failed", name)
    text = console.export_text()
    assert text.count(name) >= 4


def test_a_tilde_is_the_home_everywhere(here, capsys, in_process):
    (here / "home/mine.yaml").write_text(PRESET.format(name="mine"))
    said(capsys, "run", "optimization", "--preset=~/mine.yaml", "--store=~/a", "--workers=1")
    assert (here / "home/a/ntkgap.json").is_file()
    assert (here / "home/a/report.html").is_file()
    assert "2 │" in said(capsys, "status", "~/a")
    said(capsys, "report", "~/a", "--out=~/b/page.html")
    assert (here / "home/b/page.html").is_file()
    assert len(ng.Runs("~/a").to_pandas()) == 2
    study = ng.OptimizationStudy.preset("~/mine.yaml")
    assert ng.run(study, "~/a", progress=False).path == here / "home/a"
    ng.report(ng.Runs("~/a"), "~/c/page.html")
    assert (here / "home/c/page.html").is_file()
    assert sorted(p.name for p in here.iterdir()) == ["home"]


@pytest.mark.parametrize("text", ["0:1000000000000", "9" * 5000 + ":1", "1:" + "9" * 5000, "٣:x", "1,,2"])
def test_ranges_that_are_none(text):
    start = time.perf_counter()
    with pytest.raises(StudyError, match=r"--seed"):
        parse_integers(text, "seed")
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_path_is_none(here, capsys, path):
    for option in ("--store", "--preset"):
        assert "error: " in said(capsys, "run", "optimization", "--preset", "smoke", "--dry-run", option, path)
    assert list(here.iterdir()) == [here / "home"]


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "~nobody_here/x"])
def test_paths_that_no_file_can_have(here, path):
    with pytest.raises(StoreError, match="no ntkgap store"):
        ng.Runs(path)
    if path[0] != "~":
        with pytest.raises(StoreError, match="cannot make the store"):
            ng.run(ng.OptimizationStudy.preset("smoke", problems=["shallow"]), path, progress=False)
    for name in (f"{path}.npz", f"{path}.csv"):
        with pytest.raises(NtkgapError, match="no data file"):
            ng.load_data(name, 2, 2)


def test_a_message_is_one_line_of_what_can_be_read():
    assert str(NtkgapError(f"no {'x' * 5000}y\nhere")) == f"no {'x' * 80}…{'x' * 19}y here"
    assert str(StudyError("as it is, with  two spaces")) == "as it is, with  two spaces"


def test_a_result_without_what_a_page_needs_is_named(here, in_process):
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[4, 8], seeds=[0])
    runs = ng.run(study, "store", workers=1, progress=False)
    file = next(Path("store").rglob("result.json"))
    result = json.loads(file.read_text())
    del result["scalars"]["ngd_rate_error_worst"]
    file.write_text(json.dumps(result))
    with pytest.raises(
        StoreError, match=rf"{file.parent.name} is damaged \(it has no 'ngd_rate_error_worst'\); restore it"
    ):
        ng.report(runs, "page.html")


def test_half_a_character_in_a_name_is_refused(here):
    for data in ("\ud800", "\ud800.npz"):
        with pytest.raises(NtkgapError, match=r"no data set called|no data file|half a surrogate pair"):
            ng.ContinualStudy.preset("smoke", data=data).check()


def test_networks_far_beyond_the_machine_are_refused_before_they_are_built():
    for study in STUDIES.values():
        chosen = study.preset("smoke", widths=[10**9])
        with pytest.raises(NtkgapError, match=r"its narrowest, and this machine has"):
            chosen.check()


@pytest.fixture(scope="module")
def box():
    with sandbox() as made:
        yield made


@pytest.mark.parametrize(
    ("kind", "examples"), [("presets", 12), ("command lines", 8), ("data files", 60), ("stores", 40)]
)
def test_whatever_is_given_ends_in_success_or_one_line(box, kind, examples):
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(random=st.randoms(use_true_random=False, note_method_calls=False))
    def try_one(random):
        assert KINDS[kind](random, box) in ("success", "refused")

    try_one()


def test_the_fuzzers_see_what_goes_wrong(box):
    def touch():
        (box.path / "stray").touch()

    assert attempt(lambda: None, box) == "success"
    assert attempt(lambda: 1 / 0, box).startswith("traceback: ZeroDivisionError")
    assert attempt(touch, box).startswith("touched")
    assert attempt(lambda: ng.load_data("nothing"), box) == "refused"

    def spin():
        with no_longer_than(0.2):
            while True:
                pass

    with pytest.raises(Hung):
        spin()

    def two_lines():
        raise Refused("a\nc")

    assert attempt(two_lines, box).startswith("no clear line")
    assert {fuzz_data(Random(i), box) for i in range(30)} == {"success", "refused"}
