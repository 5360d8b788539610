"""A smoke cell of each study gives the CPU's numbers on another device; what a run does where a device fails."""

import copy
import gc
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console

import ntkgap as ng
from ntkgap.errors import StudyError, StudyWarning
from ntkgap.kernels.memory import share_of_memory
from ntkgap.reporting.preview import print_preview
from ntkgap.studies import cost, device
from ntkgap.studies.device_memory import Room, room_on
from ntkgap.studies.diagnosis.own import diagnosis_of
from tests.sim_device import telling_of_memory, with_memory

STUDIES = {
    "optimization": ng.OptimizationStudy,
    "uncertainty": ng.UncertaintyStudy,
    "continual": ng.ContinualStudy,
    "diagnosis": ng.DiagnosisStudy,
}


SMALL = {
    "ensemble": {"members": 4, "training": {"steps": 4, "observations": 2}},
    "classification": {"data": {"n_train": 8, "n_test": 8}, "training": {"steps": 2}},
    "bandit": {
        "data": {"n_train": 6},
        "training": {"steps": 2, "every": 3},
        "rules": ["theory"],
        "tuned": {"ucb": [0.1], "ntk_ucb": [0.1]},
    },
    "continual": {
        "data": {"n_train": 10, "n_test": 10},
        "stream": {"tasks": 2},
        "training": {"steps": [1, 2]},
        "methods": {"ogd": 3, "replay": 2},
    },
}


@pytest.fixture(autouse=True, scope="module")
def _what_lives_is_not_garbage():
    """Out of memory, a study has all objects gone through: seconds, with what other tests have imported."""
    gc.freeze()
    yield
    gc.unfreeze()


def smoke(study):
    """The cheapest cell of each kind of problem, made smaller still."""
    found = study.preset("smoke", seeds=1)
    kinds = {}
    for cell in sorted(found.cells(), key=found.cost):
        kinds.setdefault(cell.get("kind", study.name), cell)
    for kind, cell in kinds.items():
        for key, value in SMALL.get(kind, {}).items():
            cell[key] = {**cell[key], **value} if isinstance(value, dict) and key != "tuned" else value
    return found, list(kinds.values())


def same(one, other, where=""):
    """Numbers in any nesting agree; seconds are left out."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if "seconds" not in key:
                same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{where}[{i}]")
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9, nan_ok=True) or math.isclose(one, other), where
    else:
        assert one == other, where


@pytest.mark.parametrize("name", STUDIES)
def test_a_smoke_cell_of_each_kind_gives_the_cpus_numbers(sim, name):
    study, cells = smoke(STUDIES[name])
    for cell in cells:
        expected, found = study.compute_cell(cell), study.compute_cell(cell, {"device": "sim"})
        assert found["notes"].pop() == "computed on sim:0"
        same(expected, found)


def test_the_device_is_no_part_of_a_cell(sim):
    one, other = (ng.OptimizationStudy.preset("smoke", device=name) for name in ("cpu", "sim"))
    assert one.cells() == other.cells()
    assert one.configuration() == other.configuration()
    assert one.supplies() == {}
    assert other.supplies() == {"device": "sim"}


def test_a_device_that_is_not_there_is_refused(sim):
    for name in ("cuda:7", "sim:1", "abacus", "xpu"):
        with pytest.raises(StudyError, match=f"no device '{name}'.*choose one of cpu, sim:0"):
            ng.OptimizationStudy.preset("smoke", device=name)


def test_workers_take_devices_in_turn(sim, monkeypatch):
    monkeypatch.setattr(torch.get_device_module("sim"), "device_count", lambda: 3)
    found = []
    for worker in range(4):
        monkeypatch.setenv(device.WORKER, str(worker))
        found.append(str(device.of_worker("sim")))
    assert found == ["sim:0", "sim:1", "sim:2", "sim:0"]
    assert device.of_worker("sim:1").index == 1


def test_out_of_memory_is_tried_once_with_half_the_block(sim):
    shares = []

    def compute(fails):
        shares.append(share_of_memory())
        if len(shares) <= fails:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        return 7

    notes = []
    assert device.with_less_memory(lambda: compute(1), notes) == 7
    assert shares == [1.0, 0.5]
    assert "half as large" in notes[0]
    shares.clear()
    with pytest.raises(StudyError, match=r"half as large too \(CUDA out of memory.*2.00 GiB.*fewer workers"):
        device.with_less_memory(lambda: compute(9), [])
    assert len(shares) == 2
    with pytest.raises(RuntimeError, match="else"):
        device.with_less_memory(lambda: (_ for _ in ()).throw(RuntimeError("else")), [])


def test_a_cell_out_of_memory_fails_by_name(sim):
    study, cells = smoke(ng.OptimizationStudy)
    with with_memory(100), pytest.raises(StudyError, match="is out of memory, with blocks half as large too"):
        study.compute_cell(copy.deepcopy(cells[0]), {"device": "sim"})


def test_a_cell_that_the_device_cannot_hold_is_refused_before_it_starts(sim, monkeypatch):
    study, cells = smoke(ng.OptimizationStudy)
    need = int(study.memory(cells[0]))
    with telling_of_memory(need, need):
        study.compute_cell(cells[0], {"device": "sim"})
    monkeypatch.setattr(ng.OptimizationStudy, "measure", lambda *cell: pytest.fail("it was begun"))
    refused = pytest.raises(StudyError, match=r"needs about 0\.5 GB .* sim:0 has 0\.5 GB")
    with telling_of_memory(0, need - 1), refused:
        study.compute_cell(cells[0], {"device": "sim"})


def test_workers_that_share_a_device_count_together(sim, monkeypatch):
    room = Room("sim", 2, free=10.0, total=20.0)
    assert room.workers([6.0, 1.0, 3.0, 3.0]) == 4, "6 + 3 on each of two"
    assert room.workers([30.0, 1.0]) == 2, "what no device holds is not begun; the rest fits"
    assert room.workers([11.0, 11.0]) == 2, "one on each, whatever there is"
    assert room_on("cpu") is None
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[16], seeds=4, device="sim")
    need = study.memory(study.cells()[0])
    with telling_of_memory(int(2.5 * need), int(9 * need)):
        with pytest.warns(StudyWarning, match="sim has 1.1 GB free, .* 2 workers at once instead of 3"):
            assert study.most_workers(3, study.cells()) == 2
        assert study.most_workers(2, study.cells()) == 2
        text = _preview(study, 3, monkeypatch)
        assert "sim has 1.1 GB free of 4.1 GB. That is room for 2 of 3 workers at once" in text
    with telling_of_memory(int(9 * need), int(9 * need)):
        assert "room for" not in _preview(study, 3, monkeypatch)
    with telling_of_memory(int(0.5 * need), int(0.9 * need)):
        assert "4 of the cells need more by the forecast: they will" in _preview(study, 3, monkeypatch)
    on_cpu = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[16], seeds=4)
    assert on_cpu.most_workers(64, on_cpu.cells()) == 64


def _preview(study, workers, monkeypatch):
    monkeypatch.setattr(cost, "try_cells", lambda study, cells, limit: [(cell, 1.0) for cell in cells])
    console = Console(record=True, width=200)
    print_preview(study, Path("there-is-none"), console, workers=workers)
    return console.export_text()


def test_the_command_line_refuses_a_device_that_is_not_there(sim, tmp_path, monkeypatch, capsys):
    from ntkgap import cli

    monkeypatch.setenv("COLUMNS", "300")
    arguments = ["ntkgap", "run", "--preset", "smoke", "--device", "cuda:9", "--store", str(tmp_path / "s")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert "there is no device 'cuda:9' on this machine; choose one of cpu, sim:0" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_a_diagnosis_takes_a_device(sim):
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    own = {"optimizer": "sgd", "learning_rate": 1e-2, "steps": 2}
    task = (x, x[:, :1])
    with pytest.raises(StudyError, match="no device 'cuda:9'"):
        ng.diagnose(network, task, seeds=1, train=own, device="cuda:9", progress=False)
    study = diagnosis_of(network, task, tasks=[task, (x, -x[:, :1])], seeds=1, train=own, device="sim")
    assert study.supplies()["device"] == "sim"
    cell = study.cells()[0]
    expected, found = (
        study.compute_cell(cell, study.supplies() | {"device": "cpu"}),
        study.compute_cell(cell, study.supplies()),
    )
    assert found["notes"].pop() == "computed on sim:0"
    assert "tasks_forgetting" in found["scalars"]
    same(expected, found)
