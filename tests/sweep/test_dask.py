"""Cells on a Dask cluster: the same numbers, the same store, and what is lost is computed again."""

import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import ntkgap as ng
from ntkgap import sweep
from ntkgap.errors import NtkgapError, StudyError
from ntkgap.sweep import compute_cell
from ntkgap.sweep.engines import dask, remote
from ntkgap.sweep.parcels import pack
from tests.sweep.toy import ToyStudy

distributed = pytest.importorskip("distributed")


def new_cluster(processes=False, n_workers=2, **settings):
    return distributed.LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=processes, dashboard_address=":0", **settings
    )


@pytest.fixture(scope="module")
def client():
    """Workers are threads of this process: cells run in processes of their own anyway."""
    with new_cluster() as cluster, distributed.Client(cluster) as client:
        yield client


def run(study, store, client, **settings):
    return sweep.run(study, store, engine=ng.DaskEngine(client), progress=False, **settings)


def computed(log):
    return sorted(Path(log).read_text().split("\n"))[1:] if Path(log).exists() else []


def test_the_store_is_that_of_the_local_engine(tmp_path, client, capfd):
    log = str(tmp_path / "log")
    study = ToyStudy(widths=(1, 2, 4, 8), seeds=(0,), diverges_at=8, fails_at=2, log=log)
    sweep.run(study, tmp_path / "local", 1, progress=False)
    sweep.run(study, tmp_path / "dask", engine=ng.DaskEngine(client))
    local, dask = (sweep.Runs(tmp_path / name).to_pandas().drop(columns="seconds") for name in ("local", "dask"))
    assert local.equals(dask)
    assert "width 2 · seed 0: failed (the input is a toy)" in capfd.readouterr().err
    assert len(computed(log)) == 8
    run(study, tmp_path / "dask", client)
    assert len(computed(log)) == 8, "nothing is computed again"
    run(study, tmp_path / "dask", client, retry_failed=True)
    assert len(computed(log)) == 9
    assert not remote.PLUGINS, "workers are told when a run ends"


def test_dask_has_forgotten_a_cell_before_its_result_is_written(tmp_path, client, monkeypatch):
    """Else it is computed again where a worker is lost that still has the answer."""
    written = []

    def write(place, state, content):
        written.append(place.name)
        assert not [key for key in client.cluster.scheduler.tasks if place.name in str(key)]
        compute_cell.write_outcome(place, state, content)

    monkeypatch.setattr(dask, "write_outcome", write)
    assert run(ToyStudy(), tmp_path, client).counts() == {"done": 6}
    assert len(written) == 6


def test_an_answer_whose_worker_is_lost_before_it_is_fetched_is_waited_for(tmp_path):
    """Dask then computes it again, and the future that had ended is pending once more."""

    class Again:
        key, status, asked = "key", "pending", 0

        def result(self, timeout):
            self.asked += 1
            if self.asked < 3:
                raise TimeoutError
            return {"state": "done", "content": {"scalars": {}}}

    engine = ng.DaskEngine()
    engine._client = SimpleNamespace(status="running", id="me")
    event = engine._event(Again(), sweep.compute_cell.Task("a:b", {}, tmp_path))
    assert event.state == "done"
    assert (tmp_path / "result.json").exists()
    engine._client.status = "closed"
    with pytest.raises(NtkgapError, match="scheduler is lost"):
        engine._event(Again(), sweep.compute_cell.Task("a:b", {}, tmp_path))


def test_a_cell_that_kills_its_process_is_lost_alone(tmp_path, client):
    log = str(tmp_path / "log")
    study = ToyStudy(widths=(1, 2, 4), seeds=(0,), dies_at=4, dies_once_at=2, mark=str(tmp_path / "mark"), log=log)
    assert run(study, tmp_path / "store", client).counts() == {"done": 2, "pending": 1}
    assert [computed(log).count(f"{width} 0") for width in (1, 2, 4)] == [1, 2, 3]


def test_ctrl_c_ends_what_is_in_hand(tmp_path, client):
    study = ToyStudy(widths=(1, 4), seeds=(0,), sleep=0.0)
    engine = ng.DaskEngine(client)
    tasks = [
        sweep.compute_cell.Task(study.compute, {**cell, "sleep": 600 * (cell["width"] == 4)}, tmp_path)
        for cell in study.cells()
    ]
    events = engine.run(tasks)
    assert next(events).state == "done"
    begin = time.monotonic()
    busy = [process for plugin in remote.PLUGINS.values() for process in plugin.busy]
    assert len(busy) == 1
    events.close()
    assert busy[0].process.wait(timeout=30) == -signal.SIGKILL
    assert time.monotonic() - begin < 60


def test_processes_without_work_end_though_nobody_says_that_the_run_is_over(monkeypatch):
    """As where the client was killed."""
    monkeypatch.setattr(remote, "IDLE", 0.05)
    study = ToyStudy()
    plugin = remote.RunPlugin("run", study.compute, {}, pack(study.compute, {}))
    plugin.setup(None)
    try:
        assert plugin.answer(study.cells()[0])["state"] == "done"
        plugin.timer.join()
        assert not plugin.idle
        assert not plugin.busy
        assert plugin.answer(study.cells()[1])["state"] == "done", "a new one is started"
    finally:
        plugin.teardown(None)


def test_a_worker_that_is_killed_loses_one_cell(tmp_path):
    log = str(tmp_path / "log")
    study = ToyStudy(widths=range(1, 9), seeds=(0,), sleep=0.1, log=log)
    with new_cluster(processes=True) as cluster, distributed.Client(cluster) as client:
        victim = next(iter(client.run(os.getpid).values()))

        def kill():
            while len(computed(log)) < 3:
                time.sleep(0.02)
            os.kill(victim, signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        runs = run(study, tmp_path / "store", client)
        thread.join()
    assert runs.counts() == {"done": 8}
    assert len(computed(log)) <= 9


def test_a_lost_scheduler_loses_nothing_that_is_finished(tmp_path):
    study = ToyStudy(widths=(1, 2, 4), seeds=(0,), sleep=0.2)
    cluster = new_cluster(n_workers=1)
    client = distributed.Client(cluster.scheduler_address, timeout=1)
    events = ng.DaskEngine(client)

    class UntilOne:
        def run(self, tasks):
            for event in events.run(tasks):
                yield event
                cluster.close()

    with pytest.raises(NtkgapError, match=r"the Dask scheduler is lost.*run the same command") as caught:
        sweep.run(study, tmp_path, engine=UntilOne(), progress=False)
    assert "\n" not in str(caught.value)
    client.close()
    assert sweep.Runs(tmp_path).counts() == {"done": 1, "pending": 2}


def test_there_is_no_such_scheduler():
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(NtkgapError, match=f"no Dask scheduler answers at {address}"):
            list(ng.DaskEngine(address, timeout=0.5).run([sweep.compute_cell.Task("a:b", {}, Path())]))
    assert list(ng.DaskEngine("tcp://127.0.0.1:9").run([])) == [], "nothing to do needs no scheduler"


def test_other_versions_are_refused(tmp_path, client, monkeypatch):
    mine = remote.versions()
    monkeypatch.setattr(remote, "versions", lambda: mine | {"torch": "1.0"})
    future = client.submit(remote.compute_there, {}, "x", mine, pure=False)
    assert "other versions" in str(future.exception())
    assert f"torch {mine['torch']} here and 1.0 there" in str(future.exception())


def test_memory_is_asked_for_where_workers_declare_it(tmp_path):
    study = ToyStudy(widths=(1, 2), seeds=(0,))
    study.memory = lambda cell: 1e9 * cell["width"]
    with new_cluster(n_workers=1, resources={"memory": 1.5e9}) as cluster, distributed.Client(cluster) as client:
        assert run(study, tmp_path, client).counts() == {"done": 1, "pending": 1}


FILE = """
import beside
class Mine:
    name, version, compute, axes = "mine", 1, __file__ + ":compute", ("width",)
def compute(cell, supplies):
    with open(cell["data"]["where"] + "/mine.txt") as file, open(supplies["data"]["key"]) as given:
        text = file.read() + given.read() + beside.TEXT
    return {"scalars": {"letters": len(text), "away": "ntkgap-" in __file__}, "curves": {}, "notes": [text],
            "diverged": False}
"""


def test_files_travel_by_content(tmp_path, client):
    """A study's file, one beside it, data in a folder and data given as arrays, none of which workers may read."""
    home = tmp_path / "home"
    home.mkdir()
    for name, text in (
        ("study.py", FILE),
        ("beside.py", "TEXT = 'beside'"),
        ("mine.txt", "mine"),
        ("g.npz", "given"),
    ):
        (home / name).write_text(text)
    supplies = {"files": {str(home): ["mine.txt"]}, "data": {"key": str(home / "g.npz")}}
    cell = {"width": 1, "data": {"name": "mine.txt", "where": str(home)}, "text": str(home)}
    (tmp_path / "cell").mkdir()
    task = sweep.compute_cell.Task(f"{home / 'study.py'}:compute", cell, tmp_path / "cell", supplies)
    parcel = pack(task.compute, supplies)
    assert sorted(parcel.contents) == ["0/mine.txt", "1/beside.py", "1/study.py", "2/g.npz"]
    assert parcel.moved_cell(cell, Path("/there"))["text"] == str(home), "only what says where is changed"
    events = ng.DaskEngine(client).run([task])
    assert [event.state for event in events] == ["done"]
    result = sweep.store.read_checked(tmp_path / "cell" / "result.json", lambda _: "")
    assert result["notes"] == ["minegivenbeside"]
    assert result["scalars"]["away"] is True


MODEL = """
import torch
from torch import nn
def build(width, in_features, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, n_outputs))
"""


def test_numbers_of_an_own_network_on_own_data_are_those_of_the_local_engine(tmp_path, client):
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 5)).astype("float32")
    np.savez(tmp_path / "mine.npz", x=x, y=(x.sum(1) > 0).astype(int))
    (tmp_path / "my_model.py").write_text(MODEL)
    study = ng.OptimizationStudy.preset(
        "smoke",
        model=f"{tmp_path}/my_model.py:build",
        data=f"{tmp_path}/mine.npz:x,y",
        widths=[8],
        seeds=1,
        n_train=24,
        n_test=12,
    )
    local = sweep.run(study, tmp_path / "local", 1, progress=False)
    dask = run(study, tmp_path / "dask", client)
    assert local.counts()["done"] == dask.counts()["done"] == len(study.cells())
    for one, other in zip(local.cells, dask.cells, strict=True):
        mine, theirs = one.result(), other.result()
        for result in (mine, theirs):
            result["seconds"] = 0.0
            result["scalars"] = {k: v for k, v in result["scalars"].items() if not k.startswith("seconds")}
        assert mine == theirs


def test_without_dask_a_sentence_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(StudyError, match=r"pip install \.\[dask\]"):
        ng.DaskEngine()
