"""Several runs of one store, and fixed parts of it."""

import importlib
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import ntkgap as ng
from ntkgap.errors import StoreError, StudyError
from ntkgap.sweep import Store, preview, reservations
from ntkgap.sweep.engines import LocalEngine
from ntkgap.sweep.log import LOG
from ntkgap.sweep.reservations import RESERVATION, RUNS, Reservations, runs_at_work
from ntkgap.sweep.shards import cells_of, parse_shard
from tests.here import Here
from tests.sweep.toy import ToyStudy


@pytest.fixture
def store(tmp_path):
    study = ToyStudy(widths=(1, 2), seeds=(0,))
    opened = Store.create(tmp_path / "store", study)
    return opened.path, [cell.directory for cell in opened.plan(study, study.cells())]


@pytest.fixture
def elsewhere(monkeypatch):
    """Makes reservations as runs of another machine do, whose lives the operating system here does not know."""

    def run_there(path, **settings):
        with monkeypatch.context() as patch:
            patch.setattr(reservations, "_machine", lambda: "1234.other")
            return Reservations(path, **settings)

    return run_there


def test_a_cell_is_reserved_by_one_run_until_it_is_released(store):
    path, (one, two) = store
    with Reservations(path) as a, Reservations(path) as b:
        assert a.take(one)
        assert not b.take(one)
        assert b.holder(one) == a.name
        assert b.take(two)
        a.release(one)
        assert b.take(one)
        (one / "result.json").touch()
        b.release(one)
        assert not a.take(one), "it is done"
    assert not list((path / RUNS).glob("[!.]*"))
    assert not (two / RESERVATION).exists()


def test_many_threads_reserve_each_cell_once(tmp_path):
    study = ToyStudy(widths=range(1, 41), seeds=(0,))
    opened = Store.create(tmp_path, study)
    directories = [cell.directory for cell in opened.plan(study, study.cells())]
    with Reservations(tmp_path) as dead:
        for directory in directories[::2]:
            assert dead.take(directory)
        dead._held.clear()  # as a killed process leaves them
    taken = []

    def reserve(seed):
        order = directories.copy()
        random.Random(seed).shuffle(order)
        with Reservations(tmp_path) as mine:
            found = [d for d in order if mine.take(d)]
            barrier.wait()
            taken.extend(found)

    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=reserve, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(taken) == Counter(directories)


def _reserve_and_stay(path, directory):
    with Reservations(path) as mine:
        mine.take(directory)
        time.sleep(600)


def test_a_killed_process_holds_nothing(store):
    path, (one, _) = store
    process = multiprocessing.get_context("fork").Process(target=_reserve_and_stay, args=(path, one))
    process.start()
    while not (one / RESERVATION).exists():
        time.sleep(0.01)
    with Reservations(path) as mine:
        assert not mine.take(one)
        assert mine.lives(mine.holder(one))
        assert len(runs_at_work(path)) == 2
        process.kill()
        process.join()
        mine._known.clear()
        assert mine.take(one)
    assert runs_at_work(path) == []


def test_a_run_on_another_machine_lives_as_long_as_it_touches_its_file(store, elsewhere):
    path, (one, _) = store
    with elsewhere(path, beat=0.05) as there:
        assert there.take(one)
        with Reservations(path, expire=1.0) as here:
            time.sleep(1.2)
            assert not here.take(one)
            there._over.set()  # its machine is lost
            time.sleep(0.1)
            before = (path / RUNS / there.name).stat().st_mtime
            os.utime(path / RUNS / there.name, (before - 2, before - 2))
            here._known.clear()
            assert here.take(one)
            there.release(one)
            assert here.holder(one) == here.name, "the dead wakes up: the reservation is another's now"


def test_clocks_of_machines_do_not_count(store, elsewhere, monkeypatch):
    path, (one, _) = store
    with elsewhere(path) as there, Reservations(path) as here:
        assert there.take(one)
        monkeypatch.setattr(time, "time", lambda: 4e9)
        assert not here.take(one)


def test_what_killed_runs_left_is_swept_up(store):
    path, (one, two) = store
    (one / RESERVATION).write_text("1.abcd.0.nowhere")
    (one / ".writing-12345678-result.json").write_text("{")
    (path / RUNS).mkdir(exist_ok=True)
    (path / RUNS / "1.abcd.0.nowhere").touch()
    os.utime(path / RUNS / "1.abcd.0.nowhere", (1, 1))
    with Reservations(path) as other:
        other.take(two)
        (two / ".writing-12345678-result.json").write_text("{")
        with Reservations(path) as mine:
            mine.tidy([one, two])
            assert sorted(p.name for p in (path / RUNS).iterdir() if p.name[0] != ".") == sorted(
                (mine.name, other.name)
            )
    assert [p.name for p in one.iterdir()] == ["signac_statepoint.json"]
    assert (two / ".writing-12345678-result.json").exists(), "it is being written"


SCRIPT = """
import sys
from ntkgap import sweep
from tests.sweep.toy import ToyStudy
study = ToyStudy(widths=range(1, 13), seeds=(0,), sleep=0.1, log=sys.argv[2])
runs = sweep.run(study, sys.argv[1], workers=1, progress=False)
assert runs.counts() == {"done": 12}, runs.counts()
"""


def test_two_runs_share_a_store_and_one_takes_over_from_the_other(tmp_path):
    """Two processes at once, one of which is killed: the other ends with all done, each cell but one once."""
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path / "store"), str(tmp_path / "log")]
    processes = [subprocess.Popen(arguments, cwd=Path(__file__).parents[2]) for _ in range(2)]
    log = tmp_path / "store" / LOG
    while not log.exists() or log.read_text().count('"done"') < 3:
        time.sleep(0.02)
    processes[0].kill()
    processes[0].wait()
    assert processes[1].wait(timeout=200) == 0
    count = Counter((tmp_path / "log").read_text().splitlines())
    assert len(count) == 12
    assert sum(count.values()) <= 13, "only what the killed one had in hand may be computed again"


def test_a_run_waits_for_cells_that_another_computes(store, monkeypatch, capfd):
    path, (one, _) = store
    study = ToyStudy(widths=(1, 2), seeds=(0,))
    with Reservations(path) as other:
        assert other.take(one)
        result = {"scalars": {}, "curves": {}, "notes": [], "diverged": False, "seconds": 1.0}
        waits = []

        def end_meanwhile(seconds):
            if waits:
                (one / "result.json").write_text(json.dumps(result))
            waits.append(seconds)

        monkeypatch.setattr(importlib.import_module("ntkgap.sweep.run").time, "sleep", end_meanwhile)
        runs = ng.run(study, path, engine=Here())
        assert len(waits) == 2
    assert runs.counts() == {"done": 2}
    said = capfd.readouterr().err
    assert "1 cells are in the hands of process" in said
    assert "width 1 · seed 0: done (by another run)" in said


def test_the_log_has_a_line_for_each_event(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ng.run(ToyStudy(seeds=(0,)), tmp_path, engine=_Interrupted(), progress=False)
    ng.run(ToyStudy(seeds=(0,), fails_at=4), tmp_path, engine=Here(), progress=False)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begin", "cell", "end", "begin", "cell", "cell", "cell", "end"]
    assert lines[2]["reason"].startswith("KeyboardInterrupt")
    assert all(line["time"].endswith("+00:00") and line["run"] for line in lines)
    cells = [line for line in lines if line["event"] == "cell"]
    assert [line["state"] for line in cells] == ["done", "failed", "done", "done"]
    assert cells[0]["seconds"] >= 0
    assert cells[1]["message"] == "the input is a toy"
    assert cells[0]["place"] == "toy · width 4 · seed 0"


class _Interrupted(Here):
    def run(self, tasks):
        yield from list(super().run(iter([next(iter(tasks))])))
        raise KeyboardInterrupt


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 50])
def test_shards_are_a_partition_that_no_order_changes(parts):
    study = ToyStudy(widths=(1, 2, 4, 8), seeds=range(9))
    found = [cells_of(study, (part, parts)) for part in range(1, parts + 1)]
    assert sorted(str(c) for cells in found for c in cells) == sorted(map(str, study.cells()))
    turned = ToyStudy(widths=(8, 4, 2, 1), seeds=range(8, -1, -1))
    for part in range(1, parts + 1):
        same = cells_of(turned, (part, parts))
        assert sorted(map(str, same)) == sorted(map(str, found[part - 1]))
    costs = [sum(map(study.cost, cells)) for cells in found]
    assert max(costs) - min(costs) <= 8, "no more than the most expensive cell"
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_a_shard_is_planned_and_computed_alone(tmp_path):
    study = ToyStudy(widths=(1, 2), seeds=range(3))
    assert preview(study, tmp_path / "a", shard=(1, 3))[0] == 2
    for part in (1, 2, 3):
        runs = ng.run(study, tmp_path / "a", engine=Here(), progress=False, shard=(part, 3))
        assert runs.counts() == {"done": 2 * part}
    assert preview(study, tmp_path / "a") == (6, [])


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "1/0", "a/b", "-1/4", "1/2/3", ""])
def test_shards_that_are_none(text):
    with pytest.raises(StudyError, match="shard"):
        parse_shard(text)


def test_only_one_run_chooses(tmp_path):
    study = ToyStudy()
    opened = Store.create(tmp_path, study)
    with opened.choosing(), pytest.raises(StoreError, match="is being decided by another run"), opened.choosing():
        pass


def test_a_machine_without_processes_to_give_is_said(store, monkeypatch):
    from ntkgap.sweep.engines import local

    def refuse(number):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(local, "start_worker", refuse)
    with pytest.raises(ng.NtkgapError, match=r"cannot start a worker process.*ulimit -n"):
        ng.run(ToyStudy(widths=(1, 2), seeds=(0,)), store[0], engine=LocalEngine(1), progress=False)
