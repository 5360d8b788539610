"""Stores of earlier versions, whose directories signac 2 made, are read and continued."""

import json

import pytest

import ntkgap as ng
from ntkgap.errors import StoreError
from ntkgap.sweep import Store, preview
from ntkgap.sweep.cell_directory import CONFIGURATION, name_and_text
from ntkgap.sweep.store import META
from tests.sweep.toy import ToyStudy

SETTINGS = {"model": {"a": [1, 2.5, None], "ü": "é", "x": float("inf")}}
# Written by signac 2.4.1: neither sorted nor in our spelling.
OLD = {
    name: (
        f'{{"problem": "toy", "width": {width}, "seed": {seed}, '
        '"model": {"a": [1, 2.5, null], "\\u00fc": "\\u00e9", "x": Infinity}}'
    )
    for name, width, seed in (
        ("6a65b681f0485682d32cb3e28fecea9e", 2, 1),
        ("061b7fa6b3995fe120dcc0f001190e69", 1, 0),
    )
}


@pytest.fixture
def old(tmp_path):
    (tmp_path / META).write_text(
        json.dumps({"format": 1, "study": "toy", "version": 1, "axes": ["problem", "width", "seed"]})
    )
    for name, text in OLD.items():
        (folder := tmp_path / "workspace" / name).mkdir(parents=True)
        (folder / CONFIGURATION).write_text(text)
    first = tmp_path / "workspace" / next(iter(OLD))
    result = {"scalars": {"square": 4.0}, "curves": {}, "notes": [], "diverged": False, "seconds": 0.5}
    (first / "result.json").write_text(json.dumps(result))
    return tmp_path


def test_names_are_those_of_signac():
    for name, text in OLD.items():
        assert name_and_text(json.loads(text))[0] == name


def test_an_old_store_is_read_and_continued_in_place(old, in_process):
    before = {path: path.read_bytes() for path in old.rglob("*.json")}
    assert ng.Runs(old).counts() == {"done": 1, "pending": 1}
    study = ToyStudy(widths=(1, 2), **SETTINGS)
    assert len(preview(study, old)[1]) == 3
    assert ng.run(study, old, progress=False).counts() == {"done": 4}
    assert {path: path.read_bytes() for path in before if path.name != META} == {
        path: content for path, content in before.items() if path.name != META
    }
    assert len(list((old / "workspace").iterdir())) == 4


def test_a_directory_that_leads_elsewhere_is_not_written_into(tmp_path, in_process):
    study, elsewhere = ToyStudy(widths=(1,), seeds=(0,)), tmp_path / "elsewhere"
    opened = Store.create(tmp_path / "store", study)
    directory = opened.find(study.cells()[0]).directory
    directory.parent.mkdir()
    elsewhere.mkdir()
    directory.symlink_to(elsewhere)
    with pytest.raises(StoreError, match="is a link"):
        ng.run(study, tmp_path / "store", progress=False)
    assert not list(elsewhere.iterdir())
