"""Stores of several machines become one."""

import json
import shutil

import pytest

import ntkgap as ng
from ntkgap.errors import StoreError
from ntkgap.results.merging import join_configurations
from ntkgap.sweep import Store, merge
from ntkgap.sweep.store import META
from tests.here import Here
from tests.sweep.toy import ToyStudy


def run(study, path, **settings):
    return ng.run(study, path, engine=Here(), progress=False, **settings)


def files(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*.json")}


def table(path):
    return ng.Runs(path).to_pandas().drop(columns="seconds")


def change(path, **scalars):
    file = next(path.rglob("result.json"))
    result = json.loads(file.read_text())
    result["scalars"] |= scalars
    file.write_text(json.dumps(result | {"seconds": 99.0}))


def test_shards_merge_into_the_whole(tmp_path):
    study = ToyStudy(widths=(1, 2, 4), seeds=range(3), diverges_at=4)
    run(study, tmp_path / "whole")
    for part in (1, 2, 3):
        run(study, tmp_path / f"part-{part}", shard=(part, 3))
    before = {part: files(tmp_path / f"part-{part}") for part in (1, 2, 3)}
    runs = ng.merge_runs([tmp_path / f"part-{part}" for part in (1, 2, 3)], tmp_path / "all")
    assert runs.counts() == {"done": 9}
    assert table(tmp_path / "all").equals(table(tmp_path / "whole"))
    assert {part: files(tmp_path / f"part-{part}") for part in (1, 2, 3)} == before
    for kept in before.values():
        merged = files(tmp_path / "all")
        assert all(merged[name] == content for name, content in kept.items() if name != META), "byte by byte"
    assert run(study, tmp_path / "all").counts() == {"done": 9}


def test_the_same_cell_twice_is_one_and_clocks_may_differ(tmp_path):
    study = ToyStudy(widths=(1, 2), seeds=(0,))
    run(study, tmp_path / "a")
    run(study, tmp_path / "b")
    change(tmp_path / "b", seconds_of_something=3.0)
    assert ng.merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "c").counts() == {"done": 2}


def test_other_numbers_are_named_and_nothing_is_written(tmp_path):
    study = ToyStudy(widths=(1, 2), seeds=(0,))
    run(study, tmp_path / "a")
    run(study, tmp_path / "b")
    change(tmp_path / "b", square=4.0000001)
    with pytest.raises(StoreError, match=r"1 cells .* toy · width \d · seed 0 \(square in .*/a/.*/b/") as caught:
        ng.merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "c").exists()
    before = files(tmp_path / "a")
    with pytest.raises(StoreError, match="different numbers"):
        ng.merge_runs([tmp_path / "b"], tmp_path / "a")
    assert files(tmp_path / "a") == before


def test_done_goes_before_failed_and_pending(tmp_path):
    study = ToyStudy(widths=(1, 2, 4), seeds=(0,))
    run(study, tmp_path / "good", shard=(2, 2))
    bad = Store.create(tmp_path / "bad", study)
    for cell in bad.plan(study, study.cells()):
        if cell.cell["width"] != 2:
            (cell.directory / "failure.json").write_text('{"message": "no", "traceback": ""}')
    for order in (["good", "bad"], ["bad", "good"]):
        into = tmp_path / "-".join(order)
        states = {c.cell["width"]: c.state for c in ng.merge_runs([tmp_path / o for o in order], into).cells}
        assert states == {1: "done", 2: "done", 4: "failed"}


def test_an_interrupted_merge_goes_on(tmp_path, monkeypatch):
    study = ToyStudy(widths=(1, 2, 4), seeds=(0,))
    run(study, tmp_path / "a")
    copy, n = merge._copy, []

    def stop_at_the_second(*arguments):
        n.append(1)
        if len(n) == 2:
            raise KeyboardInterrupt
        copy(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(merge, "_copy", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            ng.merge_runs([tmp_path / "a"], tmp_path / "c")
    assert ng.Runs(tmp_path / "c").counts() == {"done": 1}
    ng.merge_runs([tmp_path / "a"], tmp_path / "c")
    assert table(tmp_path / "c").equals(table(tmp_path / "a"))
    ng.merge_runs([tmp_path / "a", tmp_path / "c"], tmp_path / "c")
    assert table(tmp_path / "c").equals(table(tmp_path / "a"))


def test_what_does_not_go_together(tmp_path):
    study, other = ToyStudy(widths=(1,)), ToyStudy(widths=(1,))
    other.name = "other"
    newer = ToyStudy(widths=(1,))
    newer.version = 2
    for name, one in (("a", study), ("b", other), ("c", newer)):
        run(one, tmp_path / name)
    with pytest.raises(StoreError, match=r"a holds the study 'toy', and .*b 'other'"):
        ng.merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "x")
    with pytest.raises(StoreError, match=r"a holds version 1, and .*c 2"):
        ng.merge_runs([tmp_path / "a", tmp_path / "c"], tmp_path / "x")
    with pytest.raises(StoreError, match="there is no ntkgap store"):
        ng.merge_runs([tmp_path / "nowhere"], tmp_path / "x")
    with pytest.raises(StoreError, match="nothing to merge"):
        ng.merge_runs([], tmp_path / "x")
    with pytest.raises(StoreError, match="takes a list of stores"):
        ng.merge_runs(str(tmp_path / "a"), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_looks_are_kept_and_others_refused(tmp_path):
    run(ToyStudy(widths=(1,)), tmp_path / "a")
    for name, seeds in (("b", [0, 1]), ("c", [1, 0])):
        shutil.copytree(tmp_path / "a", tmp_path / name)
        Store(tmp_path / name).describe_as({"looks": {"schedule": [[2, 1]], "seeds": seeds}})
    assert ng.merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "x").looks["seeds"] == [0, 1]
    with pytest.raises(StoreError, match="different looks"):
        ng.merge_runs([tmp_path / "b", tmp_path / "c"], tmp_path / "y")


def test_configurations_join_as_one_run_of_both():
    first = {
        "seeds": [0, 1],
        "problems": [{"name": "a", "widths": [4, 16], "depth": 2}, {"name": "b", "widths": [4]}],
    }
    second = {
        "seeds": [1, 2],
        "problems": [{"name": "a", "widths": [8], "depth": 3}, {"name": "c", "widths": [4]}],
    }
    assert join_configurations(first, second) == {
        "seeds": [0, 1, 2],
        "problems": [
            {"name": "a", "widths": [4, 8, 16], "depth": 3},
            {"name": "b", "widths": [4]},
            {"name": "c", "widths": [4]},
        ],
    }
    assert join_configurations({}, first) == first
