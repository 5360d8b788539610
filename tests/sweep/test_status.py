import json
import subprocess
import sys

import pytest

from ntkgap import sweep
from ntkgap.cli import app
from ntkgap.errors import StoreError
from ntkgap.sweep import Store
from ntkgap.sweep.status import Status
from tests.here import Here
from tests.sweep.toy import ToyStudy


def test_what_has_ended_is_counted_and_read_once(tmp_path, monkeypatch):
    study = ToyStudy(widths=(1, 2, 4), seeds=(0, 1), fails_at=4)
    Store.create(tmp_path, study).plan(study, study.cells())
    status = Status(tmp_path)
    status.refresh()
    assert status.rows["toy"].counts == {"done": 0, "failed": 0, "pending": 6}
    assert "0 of 6 cells done, 0 failed, 6 pending; no run is at work" in status.sentence
    sweep.run(study, tmp_path, engine=Here(), progress=False)
    status.refresh()
    row = status.rows["toy"]
    assert (row.counts, row.widths, row.seeds) == ({"done": 4, "failed": 2, "pending": 0}, {1, 2, 4}, {0, 1})
    assert status.is_over
    assert len(status.failed) == 2
    monkeypatch.setattr(sweep.stored.StoredCell, "seconds", None)
    status.refresh()
    assert status.rows["toy"].counts["done"] == 4, "what is done is not read again"


def test_seconds_are_those_of_the_result_however_it_is_written(tmp_path):
    runs = sweep.run(ToyStudy(widths=(1,), seeds=(0,), sleep=0.02), tmp_path, engine=Here(), progress=False)
    (cell,) = runs.cells
    assert cell.seconds() == cell.result()["seconds"] > 0
    file = cell.directory / "result.json"
    result = json.loads(file.read_text())
    file.write_text(json.dumps({"seconds": 7.5, **{k: v for k, v in result.items() if k != "seconds"}}))
    assert cell.seconds() == 7.5


def test_status_loads_neither_torch_nor_pandas_and_watches_to_the_end(tmp_path):
    """Of a store of many cells it answers within the time that those would take to be imported."""
    sweep.run(ToyStudy(widths=(1, 2), seeds=(0,)), tmp_path, engine=Here(), progress=False)
    script = (
        "import sys; from ntkgap.cli import app\n"
        f"for more in ([], ['--watch']): app(['status', {str(tmp_path)!r}, *more], standalone_mode=False)\n"
        "print(sorted({'torch', 'pandas'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
    assert out.count("2 of 2 cells done, 0 failed, 0 pending") == 2


def test_the_command_reads_each_configuration_once(tmp_path, monkeypatch, capsys):
    read, study = [], ToyStudy(widths=(1, 2), seeds=(0,))
    Store.create(tmp_path, study).plan(study, study.cells())
    whole = sweep.store.read_configuration
    monkeypatch.setattr(sweep.store, "read_configuration", lambda path: read.append(path) or whole(path))
    app(["status", str(tmp_path)], standalone_mode=False)
    assert "0 of 2 cells done" in capsys.readouterr().out
    assert len(read) == 2


def test_a_snapshot_reads_each_result_once(tmp_path, monkeypatch):
    read = []
    runs = sweep.run(ToyStudy(widths=(1, 2), seeds=(0,)), tmp_path, engine=Here(), progress=False)
    whole = sweep.stored.read_checked
    monkeypatch.setattr(sweep.stored, "read_checked", lambda path, *more: read.append(path) or whole(path, *more))
    once = runs.snapshot()
    for _ in range(3):
        once.to_pandas(), once.curves("line"), once.snapshot().counts()
    assert len(read) == 2


def test_threads_find_what_a_loop_finds(tmp_path, monkeypatch):
    """Of files that have to be waited for."""
    monkeypatch.setattr(sweep.files, "TOGETHER", 2)
    monkeypatch.setattr(sweep.files, "WAITING", -1.0)
    study = ToyStudy(widths=(1, 2, 4, 8), seeds=(0, 1, 2), fails_at=4)
    runs = sweep.run(study, tmp_path, engine=Here(), progress=False)
    assert [(c.cell["width"], c.cell["seed"]) for c in runs.cells] == [
        (w, s) for w in (1, 2, 4, 8) for s in range(3)
    ]
    assert sweep.preview(study, tmp_path) == (12, [])
    status = Status(tmp_path)
    status.refresh()
    assert status.rows["toy"].counts == {"done": 9, "failed": 3, "pending": 0}
    (directory := runs.cells[7].directory).joinpath("signac_statepoint.json").write_text("{}")
    status = Status(tmp_path)
    with pytest.raises(StoreError, match=directory.name):
        status.refresh()
    assert sweep.run(study, tmp_path, engine=Here(), progress=False).counts() == {"done": 9, "failed": 3}
