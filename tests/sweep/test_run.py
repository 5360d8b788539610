import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import ntkgap as ng
from ntkgap.errors import StoreError, StudyError, StudyWarning
from ntkgap.sweep import Runs, preview, run_as_chosen, shared_workers, try_cells
from ntkgap.sweep.engines import local
from ntkgap.sweep.store import META
from tests.sweep.toy import ToyStudy


def run(study, store, **settings):
    return ng.run(study, store, workers=2, progress=False, **settings)


def computed(log):
    return sorted(Path(log).read_text().split("\n"))[1:] if Path(log).exists() else []


def test_every_cell_is_computed_once_and_comes_back_in_order(tmp_path):
    runs = run(ToyStudy(widths=(4, 10, 2), diverges_at=10), tmp_path / "store")
    frame = runs.to_pandas()
    assert frame.width.tolist() == [2, 2, 4, 4, 10, 10]
    assert frame.seed.tolist() == [0, 1] * 3
    assert frame.square.tolist() == [4, 4, 16, 16, math.inf, math.inf]
    assert frame.state.tolist() == ["done"] * 4 + ["diverged"] * 2
    assert frame.unknown.isna().all()
    wide = next(curves for cell, curves in runs.curves("line") if cell["width"] == 10)
    assert wide["line"] == [0, 1, math.inf]


def test_running_again_resumes_and_more_values_extend(tmp_path):
    log = str(tmp_path / "log")
    run(ToyStudy(widths=(1, 2), log=log), tmp_path / "store")
    run(ToyStudy(widths=(1, 2), log=log), tmp_path / "store")
    assert computed(log) == ["1 0", "1 1", "2 0", "2 1"]
    runs = run(ToyStudy(widths=(2, 3), seeds=(1, 2), log=log), tmp_path / "store")
    assert computed(log) == ["1 0", "1 1", "2 0", "2 1", "2 2", "3 1", "3 2"]
    assert len(runs.to_pandas()) == 7


def test_preview_says_what_run_would_do_and_writes_nothing(tmp_path):
    store = tmp_path / "store"
    assert [c["width"] for c in preview(ToyStudy(), store)[1]] == [4, 4, 2, 2, 1, 1]
    assert not store.exists()
    run(ToyStudy(widths=(4,)), store)
    before = sorted(store.rglob("*"))
    total, to_do = preview(ToyStudy(), store)
    assert (total, [c["width"] for c in to_do]) == (6, [2, 2, 1, 1])
    assert sorted(store.rglob("*")) == before


def test_a_failing_cell_is_reported_and_the_sweep_goes_on(tmp_path):
    log = str(tmp_path / "log")
    study = ToyStudy(fails_at=2, crashes_at=4, log=log)
    runs = run(study, tmp_path / "store")
    assert runs.counts() == {"done": 2, "failed": 4}
    messages = {cell["width"]: message for cell, message in runs.failures()}
    assert messages == {2: "the input is a toy", 4: "ZeroDivisionError: deep inside"}
    failed = next(c for c in runs.cells if c.state == "failed")
    assert "Traceback" in failed.failure()["traceback"]
    run(study, tmp_path / "store")
    assert len(computed(log)) == 6, "failed cells are left alone"
    run(study, tmp_path / "store", retry_failed=True)
    assert len(computed(log)) == 10, "unless asked for"


def test_a_study_whose_supplies_are_missing_changes_nothing(tmp_path):
    class Bare(ToyStudy):
        def supplies(self):
            raise StudyError("the data are not here")

    with pytest.raises(StudyError, match="not here"):
        run(Bare(), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    before = run(ToyStudy(fails_at=2), tmp_path / "store").counts()
    with pytest.raises(StudyError, match="not here"):
        run(Bare(fails_at=2), tmp_path / "store", retry_failed=True)
    assert Runs(tmp_path / "store").counts() == before == {"done": 4, "failed": 2}


def test_a_killed_worker_loses_nothing(tmp_path):
    study = ToyStudy(dies_once_at=2, mark=str(tmp_path / "mark"))
    assert run(study, tmp_path / "store").counts() == {"done": 6}


def test_no_more_workers_are_at_work_than_a_study_has_room_for(tmp_path, monkeypatch):
    started, whole = [], local.Worker
    monkeypatch.setattr(local, "Worker", lambda number: started.append(number) or whole(number))
    study = ToyStudy()
    study.most_workers = lambda workers, cells: min(workers, 1 if len(cells) == 6 else 9)
    with shared_workers(2) as engine:
        ng.run(study, tmp_path / "a", progress=False, engine=engine)
        assert started == [0]
        ng.run(ToyStudy(), tmp_path / "b", progress=False, engine=engine)
        assert len(started) == 2, "the next run may have more"


def test_runs_share_workers_and_do_without_those_that_died_between_them(tmp_path):
    with shared_workers(2) as engine:
        ng.run(ToyStudy(), tmp_path / "a", progress=False, engine=engine)
        kept = [worker.process for worker in engine._idle]
        assert len(kept) == 2
        kept[0].kill()
        kept[0].wait()
        again = ng.run(ToyStudy(), tmp_path / "b", progress=False, engine=engine)
        assert again.counts() == {"done": 6}
        assert kept[1] in [worker.process for worker in engine._idle]
    assert all(process.poll() is not None for process in kept)
    assert not engine._idle


def test_a_cell_that_kills_every_worker_is_left_pending(tmp_path):
    log = str(tmp_path / "log")
    runs = run(ToyStudy(dies_at=4, seeds=(0,), log=log), tmp_path / "store")
    assert runs.counts() == {"done": 2, "pending": 1}
    assert computed(log).count("4 0") == 3


def wait_for(condition):
    """Until something is so; a test that waits in vain is ended by its timeout."""
    while not condition():
        time.sleep(0.05)


def test_workers_die_with_their_parent(tmp_path):
    """The parent is killed outright while both workers are busy: no process survives it."""
    log = tmp_path / "log"
    script = (
        "from ntkgap.sweep import run; from tests.sweep.toy import ToyStudy\n"
        f"study = ToyStudy(log={str(log)!r}, sleep=600)\n"
        f"run(study, {str(tmp_path / 'store')!r}, workers=2, progress=False)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2]) as parent:
        try:
            wait_for(lambda: len(computed(log)) == 2 or parent.poll() is not None)
            children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
            assert len(children) == 2
            assert all(_alive(child) for child in children)
        finally:
            parent.kill()
    wait_for(lambda: not any(_alive(child) for child in children))


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_store_belongs_to_one_study_and_version(tmp_path):
    run(ToyStudy(widths=(1,)), tmp_path)
    other = ToyStudy(widths=(1,))
    other.name = "other"
    with pytest.raises(StoreError, match="holds the study 'toy', not 'other'"):
        run(other, tmp_path)
    newer = ToyStudy(widths=(1,))
    newer.version = 2
    with pytest.raises(StoreError, match=r"version 1 of the study 'toy'.*computes version 2"):
        run(newer, tmp_path)
    meta = tmp_path / META
    meta.write_text(meta.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(StoreError, match="format 99"):
        run(ToyStudy(), tmp_path)
    meta.write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        ng.Runs(tmp_path)


def test_directories_that_cannot_be_stores_are_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"not empty \(it holds thesis.tex\)"):
        run(ToyStudy(), tmp_path)
    with pytest.raises(StoreError, match="cannot make the store"):
        run(ToyStudy(), tmp_path / "thesis.tex" / "store")
    with pytest.raises(StoreError, match="there is no ntkgap store"):
        ng.Runs(tmp_path)


def test_a_read_only_store_is_refused_and_stays_as_it_is(tmp_path, monkeypatch):
    store = tmp_path / "store"
    run(ToyStudy(widths=(1,)), store)
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    if os.geteuid() == 0:  # permissions do not bind root: let the operating system's call itself refuse
        from ntkgap.sweep import files

        def refuse(*_):
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(files.os, "replace", refuse)
    else:
        store.chmod(0o555)
    with pytest.raises(StoreError, match="cannot write to the store"):
        run(ToyStudy(widths=(1, 2)), store)
    monkeypatch.undo()
    store.chmod(0o755)
    assert {p: p.read_bytes() for p in store.rglob("*") if p.is_file()} == before
    assert ng.Runs(store).counts() == {"done": 1 * 2}


def test_a_half_made_cell_directory_is_made_good(tmp_path):
    """What a process leaves that is killed between making a cell's directory and filling it."""
    runs = run(ToyStudy(widths=(1,), seeds=(0,)), tmp_path)
    directory = runs.cells[0].directory
    for file in directory.iterdir():
        file.unlink()
    assert ng.Runs(tmp_path).cells == []
    assert run(ToyStudy(widths=(1,), seeds=(0,)), tmp_path).counts() == {"done": 1}


@pytest.mark.parametrize("text", ["", "{}", "[]", "{"])
def test_damaged_files_are_named(tmp_path, text):
    runs = run(ToyStudy(widths=(1,), seeds=(0,)), tmp_path)
    file = runs.cells[0].directory / "result.json"
    good = file.read_text()
    file.write_text(text)
    with pytest.raises(StoreError, match=r"result.json is damaged"):
        ng.Runs(tmp_path).to_pandas()
    file.write_text(good)
    (tmp_path / META).write_text(text)
    with pytest.raises(StoreError, match=r"ntkgap.json is damaged"):
        ng.Runs(tmp_path)


def test_a_finished_cell_with_a_damaged_configuration_does_not_vanish(tmp_path):
    runs = run(ToyStudy(widths=(1,), seeds=(0,)), tmp_path)
    (runs.cells[0].directory / "signac_statepoint.json").write_text("{")
    with pytest.raises(StoreError, match=r"configuration of the cell in .* is damaged"):
        ng.Runs(tmp_path)


def test_workers_must_be_positive(tmp_path):
    with pytest.raises(StudyError, match="workers must be at least 1, got 0"):
        ng.run(ToyStudy(), tmp_path, workers=0)


def test_progress_is_one_plain_line_a_cell_where_there_is_no_terminal(tmp_path, capfd):
    ng.run(ToyStudy(widths=(1, 2), seeds=(0,), fails_at=1), tmp_path, workers=1)
    lines = [line for line in capfd.readouterr().err.splitlines() if "toy · " in line]
    assert re.match(r"1/2 +\d+\.\d s  toy · width 2 · seed 0: done$", lines[0])
    assert re.match(r"2/2 +\d+\.\d s  toy · width 1 · seed 0: failed \(the input is a toy\)$", lines[1])


def test_a_limit_counts_from_the_first_cell_and_stops_what_is_in_hand():
    study = ToyStudy(widths=(1, 2, 3), seeds=(0,))
    first, second, third = study.cells()
    # Few machines start a worker within the limit, and none lets a test sleep to the end.
    done = try_cells(study, [first, second, third | {"sleep": 600}], limit=1.0)
    assert [cell["width"] for cell, _ in done] == [1, 2]
    assert all(seconds < 1 for _, seconds in done)


def test_results_of_other_settings_are_said(tmp_path):
    run(ToyStudy(widths=(1, 2), seeds=(0,), model={"fingerprint": "a"}), tmp_path / "store")
    with pytest.warns(StudyWarning, match=r"2 cells in .* with another model.fingerprint \(a fingerprint is"):
        runs = run(ToyStudy(widths=(1, 2, 3), seeds=(0,), model={"fingerprint": "b"}), tmp_path / "store")
    assert runs.counts() == {"done": 5}


def test_cells_are_chosen_when_a_worker_is_free_and_what_lasts_too_long_is_stopped(tmp_path, monkeypatch):
    """Of width 1 the second seed is chosen when the first is done; width 2 sleeps far beyond the end."""
    study, seen = ToyStudy(widths=(1,)), []
    end, clock = time.monotonic() + 1000, SimpleNamespace(ahead=0.0)
    monkeypatch.setattr(local, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + clock.ahead))

    def choose(opened, reporter):
        seen.append("asked anew")
        if len(seen) > 1:
            return
        opened.note(study)
        for seed in (0, 1):
            cell = opened.add({"problem": "toy", "width": 1, "seed": seed})
            yield cell
            seen.append(cell.state)
        clock.ahead = end - 1 - time.monotonic()  # a second is left, however long workers took to start
        yield opened.add({"problem": "toy", "width": 2, "seed": 0, "sleep": 600})

    runs = run_as_chosen(study, tmp_path, choose, end, workers=1, progress=False)
    assert seen == ["asked anew", "done", "done", "asked anew"]
    assert [(c.cell["width"], c.state) for c in runs.cells] == [(1, "done"), (1, "done"), (2, "pending")]
