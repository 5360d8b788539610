"""Cells on a Dask cluster: the same numbers, the same store, and what is lost is computed again."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

import ntkgap as ng
from ntkgap import sweep
from ntkgap.errors import NtkgapError, StudyError
from ntkgap.sweep import compute_cell
from ntkgap.sweep.engines import dask, local, remote
from ntkgap.sweep.engines.places import PlacedWorker
from ntkgap.sweep.parcels import pack
from tests.sweep.toy import StackedToy, ToyStudy

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


def test_an_answer_is_waited_for_and_a_fetch_that_is_cancelled_means_a_lost_scheduler(tmp_path, client):
    """It is where a worker is lost before its answer is fetched: Dask computes it again."""
    engine, cell = ng.DaskEngine(client), sweep.compute_cell.Task("a:b", {}, tmp_path)
    engine._connected()
    until = time.monotonic() + 2 * dask.PATIENCE

    def answer():
        time.sleep(max(0.0, until - time.monotonic()))
        return [{"state": "done", "content": {"scalars": {}}}]

    assert [event.state for event in engine._events(client.submit(answer, pure=False), cell)] == ["done"]
    assert (tmp_path / "result.json").exists()
    (future := client.submit(time.sleep, 0.5, pure=False)).cancel()  # as all are where the scheduler is lost
    with pytest.raises(NtkgapError, match="scheduler is lost"):
        list(engine._events(future, cell))


def test_a_cell_that_kills_its_process_is_lost_alone(tmp_path, client):
    log = str(tmp_path / "log")
    study = ToyStudy(widths=(1, 2, 4), seeds=(0,), dies_at=4, dies_once_at=2, mark=str(tmp_path / "mark"), log=log)
    assert run(study, tmp_path / "store", client).counts() == {"done": 2, "pending": 1}
    assert [computed(log).count(f"{width} 0") for width in (1, 2, 4)] == [1, 2, 3]


def test_cells_of_a_stack_are_computed_in_one_call_and_fail_and_die_alone(tmp_path, client):
    logs = {"log": str(tmp_path / "log"), "calls": str(tmp_path / "calls")}
    study = StackedToy(widths=(1, 2), seeds=range(3), dies_together_at=2, **logs)
    assert run(study, tmp_path / "store", client).counts() == {"done": 6}
    assert sorted(Path(logs["calls"]).read_text().splitlines()) == ["0 1 2"] * 2
    assert computed(logs["log"]) == sorted(f"{w} {s}" for w in (1, 2) for s in range(3))
    fails = StackedToy(widths=(4,), seeds=range(4), fails_seed=1, dies_seed=2)
    runs = run(fails, tmp_path / "fails", client)
    assert {cell.cell["seed"]: cell.state for cell in runs.cells} == dict(
        enumerate(["done", "failed", "pending", "done"])
    )


@pytest.mark.parametrize(("memory", "calls"), [(2.5e9, []), (3e9, ["0 1 2"])])
def test_a_stack_that_no_worker_can_take_goes_one_by_one(tmp_path, memory, calls):
    study = StackedToy(widths=(2,), seeds=range(3), calls=str(log := tmp_path / "calls"))
    study.memory = lambda cell, cells=1: cells * 1e9
    with new_cluster(n_workers=1, resources={"memory": memory}) as cluster, distributed.Client(cluster) as client:
        assert run(study, tmp_path / "store", client).counts() == {"done": 3}
    assert computed(log) == calls


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
        assert plugin.answers(study.cells()[:1], "")[0]["state"] == "done"
        plugin.timer.join()
        assert not plugin.idle
        assert not plugin.busy
        assert plugin.answers(study.cells()[1:2], "")[0]["state"] == "done", "a new one is started"
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


def test_processes_of_a_machine_take_its_devices_in_turn(tmp_path, client, monkeypatch):
    """One that dies is replaced by one of the same number."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other workers of this machine do not count
    who = {"who": str(tmp_path / "who"), "mark": str(tmp_path / "mark")}
    study = ToyStudy(widths=range(1, 13), seeds=(0,), sleep=0.2, dies_once_at=6, **who)
    assert run(study, tmp_path / "store", client).counts() == {"done": 12}
    lines = [line.split() for line in (tmp_path / "who").read_text().splitlines()]
    assert {number for _, number, _ in lines} == {"0", "1"}
    dead, its_number, _ = next(line for line in lines if line[2] == "6")
    numbers = {(process, number) for process, number, _ in lines}
    assert len(numbers) == len({process for process, _ in numbers}) == 3, "none changes its number"
    (other,) = {number for process, number in numbers if process != dead} - {its_number}
    assert sorted(number for _, number in numbers) == sorted((its_number, its_number, other))


def test_a_number_that_is_let_go_is_given_again(tmp_path, monkeypatch):
    pipe = subprocess.PIPE
    monkeypatch.setattr(local, "start_worker", lambda number: subprocess.Popen(["cat"], stdin=pipe, stdout=pipe))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    workers = [PlacedWorker() for _ in range(4)]
    assert [worker.number for worker in workers] == [0, 1, 2, 3]
    for worker in workers[1:3]:
        worker.end()
    workers[1:3] = PlacedWorker(), PlacedWorker()
    assert [worker.number for worker in workers] == [0, 1, 2, 3]
    # Slurm gives each worker a device of its own, and dask-cuda has each see another one first.
    for devices in ("1", "1,0"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
        workers.append(PlacedWorker())
        assert workers[-1].number == 0
    for worker in workers:
        worker.end()


HOLDER = """
import subprocess, sys
from ntkgap.sweep.engines import local, places
pipe = subprocess.PIPE
local.start_worker = lambda number: subprocess.Popen(["cat"], stdin=pipe, stdout=pipe)
held = places.PlacedWorker()
print(held.number, flush=True)
sys.stdin.read()
"""


def test_a_dask_worker_that_is_killed_lets_go_of_its_number(tmp_path):
    pipe, environment = subprocess.PIPE, {**os.environ, "TMPDIR": str(tmp_path)}
    with contextlib.ExitStack() as stack:

        def start():
            command = [sys.executable, "-c", HOLDER]
            process = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment))
            stack.callback(process.kill)
            return process, int(process.stdout.readline())

        found = [start() for _ in range(3)]
        assert [number for _, number in found] == [0, 1, 2]
        found[1][0].kill()
        found[1][0].wait()
        assert start()[1] == 1


def test_the_number_of_a_process_decides_its_gpu(monkeypatch):
    from ntkgap.studies import device

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for gpus, expected in ((2, ["cuda:0", "cuda:1", "cuda:0"]), (1, ["cuda:0"] * 3)):
        monkeypatch.setattr("torch.cuda.device_count", lambda gpus=gpus: gpus)
        found = []
        for number in range(3):
            monkeypatch.setenv(device.WORKER, str(number))
            found.append(str(device.of_worker("cuda")))
            assert str(device.of_worker(f"cuda:{gpus - 1}")) == f"cuda:{gpus - 1}", "named"
        assert found == expected


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
    future = client.submit(remote.compute_there, [{}], "", "x", mine, pure=False)
    assert "other versions" in str(future.exception())
    assert f"torch {mine['torch']} here and 1.0 there" in str(future.exception())


def test_memory_is_asked_for_where_workers_declare_it(tmp_path):
    study = ToyStudy(widths=(1, 2), seeds=(0,))
    study.memory = lambda cell: 1e9 * cell["width"]
    with new_cluster(n_workers=1, resources={"memory": 1.5e9}) as cluster, distributed.Client(cluster) as client:
        assert run(study, tmp_path, client).counts() == {"done": 1, "pending": 1}


def test_its_own_cluster_declares_the_memory_of_this_machine_and_keeps_to_its_device(tmp_path, monkeypatch):
    """Three workers, and cells of 0.4 of the memory: two at once; then a device that has room for one."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    log = tmp_path / "who"
    study = ToyStudy(widths=(1,), seeds=range(4), sleep=0.3, who=str(log))
    share = distributed.system.MEMORY_LIMIT * 0.4
    study.memory, study.most_workers = (lambda cell: share), (lambda workers, cells: workers)
    engine = ng.DaskEngine(workers=3)
    assert sweep.run(study, tmp_path / "memory", engine=engine, progress=False).counts() == {"done": 4}
    assert {line.split()[1] for line in log.read_text().splitlines()} == {"0", "1"}
    log.unlink()
    study.most_workers = lambda workers, cells: workers - 2
    assert sweep.run(study, tmp_path / "device", engine=engine, progress=False).counts() == {"done": 4}
    assert {line.split()[1] for line in log.read_text().splitlines()} == {"0"}
    assert engine.at_once == 1


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
