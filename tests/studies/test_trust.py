"""A store or a preset from a stranger names code, and nothing of it is imported or run."""

import json
import sys

import pytest
import torch
import yaml
from torch import nn

import ntkgap as ng
from ntkgap import cli
from ntkgap.studies import assess, factories
from ntkgap.studies.assess import study_of
from tests.studies.test_variations import measure

TRAP = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
import ntkgap as ng
class Study(ng.studies.BaseStudy):
    name = "trap"
def build(width):
    raise SystemExit
"""
PROBLEM = {
    "name": "theirs, digits",
    "model": {"factory": "trap.py:build", "options": {"depth": 3}},
    "data": {"name": "digits", "n_train": 4, "n_test": 4},
    "widths": [4],
    "natural_gradient": {"steps": 2},
    "gradient_descent": {"steps": 2},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that is the present one and on the path, with a file that leaves a mark if it runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trap.py").write_text(TRAP)
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump({"seeds": [0], "problems": [PROBLEM]}))
    yield tmp_path
    assert not (tmp_path / "ran").exists()
    sys.modules.pop("trap", None)


def said(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["ntkgap", *arguments])
    try:
        cli.main()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    out, err = capsys.readouterr()
    return status, out, err


def store_of(folder, study, configuration):
    """One with a cell, written by a stranger."""
    place = folder / "store"
    (place / "workspace").mkdir(parents=True)
    axes = ["problem", "width", "seed", "variation"]
    meta = {"format": 1, "study": study, "version": 1, "axes": axes, "configuration": configuration}
    (place / "ntkgap.json").write_text(json.dumps(meta))
    return place


@pytest.mark.parametrize("study", ["trap.py:Study", "trap:Study", "./trap.py:Study", "trap"])
def test_a_store_names_no_study_by_its_place(study, folder, monkeypatch, capsys):
    place = store_of(folder, study, {"seeds": [0], "problems": [PROBLEM]})
    with pytest.raises(ng.NtkgapError, match=r"unknown study '.*trap.*'; choose one of optimization"):
        study_of(ng.Runs(place))
    for command in ("report", "status"):
        status, _, err = said(monkeypatch, capsys, command, "store")
        assert "Traceback" not in err
        assert len(err.strip().splitlines()) <= 1
        assert status == (1 if command == "report" else 0)


def test_what_a_preset_names_is_asked_for_in_a_sentence(folder, monkeypatch, capsys):
    words = r"'trap.py:build' is not loaded: neither a preset nor a store runs code .* --model trap.py:build"
    study = ng.OptimizationStudy.preset("theirs.yaml")
    assert len(study.cells()) == 1
    for ask in (
        study.check,
        lambda: ng.run(study, "mine", workers=1),
        lambda: study.compute_cell(study.cells()[0]),
    ):
        with pytest.raises(ng.NtkgapError, match=words):
            ask()
    for more in ((), ("--dry-run",)):
        status, _, err = said(monkeypatch, capsys, "run", "optimization", "--preset", "theirs.yaml", *more)
        assert status == 1
        assert err.startswith("error: 'trap.py:build' is not loaded")
    assert not (folder / "mine").exists()


def test_results_are_read_without_the_factory_or_the_data(folder, monkeypatch, capsys):
    def build(width, in_features, n_outputs):
        return nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, n_outputs))

    train, _ = ng.load_data("digits", n_train=40, n_test=4)
    data = (train.x, train.y.argmax(dim=1))
    sizes = {"widths": [3, 4], "seeds": 1, "n_train": 6, "n_test": 6}
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], model=build, data=data, **sizes)
    runs = measure(study, "mine")
    assert runs.failures() == []
    monkeypatch.setattr(factories, "_KNOWN", {})
    monkeypatch.setattr(factories, "factory_of", None)
    monkeypatch.setattr("ntkgap.studies.given_data._KNOWN", {})
    runs = ng.Runs("mine")
    assert len(runs.to_pandas()) == 2
    assert len(assess(runs)) > 3
    assert said(monkeypatch, capsys, "status", "mine")[0] == 0
    assert said(monkeypatch, capsys, "report", "mine")[0] == 0
    again = ng.OptimizationStudy.build(runs.configuration)
    with pytest.raises(ng.NtkgapError, match=r"build. is not loaded"):
        ng.run(again, "mine", workers=1, progress=False)


def test_data_that_were_given_are_asked_for_again(monkeypatch, tmp_path):
    train, _ = ng.load_data("digits", n_train=40, n_test=4)
    study = ng.OptimizationStudy.preset("smoke", problems=["MLP"], data=train, n_train=6, n_test=6, widths=[3])
    monkeypatch.setattr("ntkgap.studies.given_data._KNOWN", {})
    with pytest.raises(ng.NtkgapError, match=r"given as arrays, .* give them again, data=\(x, y\)"):
        ng.run(study, tmp_path / "mine", workers=1, progress=False)
    assert not (tmp_path / "mine").exists()


def test_a_source_that_has_changed_is_said(folder):
    (folder / "own.py").write_text("from torch import nn\ndef build(width): return nn.Linear(64, 10)\n")
    ours = {"model": "own.py:build", "widths": [3], "seeds": 1}
    (folder / "theirs.yaml").write_text(
        yaml.safe_dump({"seeds": [0], "problems": [PROBLEM | {"model": {"factory": "own.py:build"}}]})
    )
    planned = ng.OptimizationStudy.preset("smoke", problems=["MLP"], **ours).configuration()
    (folder / "own.py").write_text(
        "from torch import nn\ndef build(width): return nn.Linear(64, 10, bias=False)\n"
    )
    known = dict(factories._KNOWN)
    changed = ng.OptimizationStudy.preset("smoke", problems=["MLP"], **ours)
    assert changed.configuration() != planned
    factories._KNOWN.pop(planned["problems"][0]["model"]["fingerprint"])
    try:
        with pytest.raises(ng.NtkgapError, match=r"own.py:build. has changed since this was planned"):
            ng.OptimizationStudy.build(planned).check()
    finally:
        factories._KNOWN.update(known)


def test_networks_of_ours_may_be_named_by_a_preset(folder):
    text = (folder / "theirs.yaml").read_text().replace("trap.py:build", "ntkgap:MLP")
    assert "ntkgap:MLP" in text
    (folder / "ours.yaml").write_text(text)
    study = ng.OptimizationStudy.preset("ours.yaml")
    (problem,) = study.problems
    assert study.supplies() == {}
    network = problem.network(problem.example(0), 4, torch.Generator().manual_seed(0))
    assert isinstance(network, ng.MLP)
