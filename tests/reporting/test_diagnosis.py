"""``ng.diagnose`` and ``ntkgap diagnose``: what is shown of a diagnosis, and what is refused."""

import html
import importlib
import re
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure
from torch import nn
from typer.testing import CliRunner

import ntkgap as ng
from ntkgap.cli import app
from ntkgap.errors import StoreError, StudyError
from ntkgap.studies.diagnosis.own import diagnosis_of
from tests.here import Here

MODEL = """
from torch import nn


def build(width, in_features, n_outputs):
    return nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, n_outputs))
"""
QUICK = {"optimizer": "sgd", "learning_rate": 0.02, "momentum": 0.0, "steps": 8}
REGIMES = ("kernel", "mixed", "feature learning", "not trained enough")
COLUMNS = ["study", "problem", "claim", "axis", "at", "state", "value", "low", "high", "limit", "seeds"]


def build(width, in_features, n_outputs):
    return nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, n_outputs))


def examples(n=40):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    return x, (x[:, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A small diagnosis."""
    settings = {"widths": [4, 8], "seeds": 3, "train": QUICK, "progress": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("ntkgap.sweep.run"), "LocalEngine", Here)
        return ng.diagnose(build, examples(), store=tmp_path_factory.mktemp("diagnosis") / "runs", **settings)


def test_a_diagnosis_shows_all_its_parts(found, tmp_path):
    assert found.regime in REGIMES
    assert re.match(r"[A-Z].*: .*; .*\.$", found.sentence)
    frame = found.verdicts()
    assert list(frame.columns) == COLUMNS
    assert set(frame["at"]) == {4, 8}
    assert (frame.study == "diagnosis").all()
    assert len(found.to_pandas()) == 6
    assert str(found).startswith(found.sentence)
    assert "The kernel is nearly constant" in str(found)
    shown = found._repr_html_()
    assert shown.count("<svg") == 1
    assert found.regime in REGIMES
    for quantity in (
        "linearization_gap",
        "kernel_constant",
        "kernel_change",
        "changes",
        "curves",
        "parameter_change",
    ):
        assert isinstance(found.plot(quantity), Figure)
    with pytest.raises(StudyError, match=r"there is no 'gap' to plot; choose one of learned, moved"):
        found.plot("gap")
    page = found.report(tmp_path / "page")
    text = page.read_text()
    assert "The diagnosis" in text
    assert found.found.reason.split("[")[0] in html.unescape(text)
    assert "The diagnosis promise" not in text
    assert "Required for a verdict on the regime" in text
    assert "Sufficient conditions" not in text
    assert "Uncertainty of an ensemble and of the NTK-GP" in text


@pytest.mark.usefixtures("in_process")
def test_running_again_resumes_and_more_seeds_extend(found, tmp_path):
    runs = ng.Runs(shutil.copytree(found.runs.path, tmp_path / "runs"))
    before = {c.directory: (c.directory / "result.json").stat().st_mtime_ns for c in runs.cells}
    more = ng.diagnose(
        build, examples(), widths=[4, 8], seeds=4, train=QUICK, store=tmp_path / "runs", progress=False
    )
    assert len(more.to_pandas()) == 8
    assert {d: (d / "result.json").stat().st_mtime_ns for d in before} == before
    with pytest.raises(StudyError, match="there is no problem 'other'"):
        ng.reporting.Diagnosis(more.runs, "other")


@pytest.mark.usefixtures("in_process")
def test_a_temporary_store_lives_as_long_as_the_diagnosis(monkeypatch):
    found = ng.diagnose(build(4, 4, 2), examples(), seeds=2, train=QUICK, progress=False)
    assert found.runs.path.exists()
    assert len(found.to_pandas()) == 2
    path = found.runs.path
    del found
    assert not path.exists()


def test_a_quarter_is_for_testing():
    def sizes(n, **given):
        data = diagnosis_of(build, examples(n), widths=[4], seeds=1, **given).problems[0].data
        return data.n_train, data.n_test

    assert sizes(40) == (30, 10)
    assert sizes(2000) == (800, 256)
    assert sizes(40, n_train=20) == (20, 20)
    assert sizes(40, n_test=4) == (36, 4)


def test_what_cannot_be_diagnosed_is_refused(in_process, tmp_path):
    with pytest.raises(ng.NtkgapError, match="3 targets"):
        ng.diagnose(build(4, 4, 2), (examples()[0], np.arange(40) % 3), seeds=1)
    with pytest.raises(ng.NtkgapError, match="takes no width"):
        ng.diagnose(build(4, 4, 2), examples(), widths=[4], seeds=1)
    with pytest.raises(ng.NtkgapError, match="n_train must be at least 2"):
        ng.diagnose(build, examples(), n_train=1, widths=[4], seeds=1)
    with pytest.raises(ng.NtkgapError, match="NaN"):
        ng.diagnose(build, (np.full((40, 4), np.nan), np.arange(40) % 2), widths=[4], seeds=1)
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[4], seeds=1)
    with pytest.raises(StoreError, match="holds the study 'optimization', not a diagnosis"):
        ng.reporting.Diagnosis(ng.run(study, tmp_path / "other", workers=1, progress=False))


def test_the_command_prints_the_sentence_first(in_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(MODEL)
    (tmp_path / "my_train.py").write_text(
        "import torch\n\n\ndef fit(model, data, seed):\n"
        "    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "    for _ in range(5):\n        optimizer.zero_grad()\n"
        "        (model(data.x) - data.y).square().mean().backward()\n        optimizer.step()\n"
    )
    x, y = examples()
    np.savez("mine.npz", x=x, y=y)
    np.savez("first.npz", x=x[:20], y=y[:20])
    np.savez("second.npz", x=-x[:20], y=y[:20])
    arguments = ["diagnose", "my_model.py:build", "--data", "mine.npz", "--width", "4,8", "--seeds", "2"]
    arguments += ["--store", "runs/mine", "--workers", "1", "--train", "my_train.py:fit"]
    arguments += ["--tasks", "first.npz:x,y,second.npz:x,y"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert re.match(r"(Kernel regime|Mixed regime|Feature learning|Not trained enough to tell): ", lines[0])
    assert lines[-1] == "report: runs/mine/report.html"
    assert "What is forgotten of the tasks" in (tmp_path / "runs/mine/report.html").read_text()
    assert CliRunner().invoke(app, [*arguments, "--dry-run"]).stdout.startswith("diagnosis: 0 of 4 cells")
    assert "linearized model" in CliRunner().invoke(app, ["diagnose", "--help"]).stdout
