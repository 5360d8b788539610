"""On a device cells that differ by their seed alone are trained as one stack, within its memory."""

import copy

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError, StudyWarning
from ntkgap.studies.continual import learner
from ntkgap.sweep.compute_cell import computed_at_once, write_outcome
from ntkgap.sweep.engines import Event, LocalEngine
from tests.devices.test_studies import _preview, smoke
from tests.sim_device import telling_of_memory
from tests.studies.continual.test_seeds_at_once import SMALL, close
from tests.tolerances import SINGLE

PLENTY = 2**40


class AtOnce(LocalEngine):
    """Computes in this process, where the device is."""

    def run(self, tasks):
        for task in tasks:
            for one, state, content in computed_at_once(task):
                write_outcome(one.place, state, content)
                yield Event(one, state)


SMOOTH = {**SMALL, "model": {**SMALL["model"], "nonlinearity": "erf"}, "kernels": []}


def study(device="sim", seeds=3, **changes):
    problem = copy.deepcopy({**SMOOTH, "widths": [4, 8], **changes})
    found = ng.ContinualStudy.build({"seeds": list(range(seeds)), "problems": [problem]})
    return found.model_copy(update={"device": device})


def test_they_have_the_numbers_of_each_alone(sim):
    kernels = ["infinite", "initial", "task_start"]
    cells = study(widths=[8], seeds=2, kernels=kernels, methods={"ogd": 3, "replay": 2}).cells()
    for cell, found in zip(cells, ng.ContinualStudy.compute_cells(cells, {"device": "sim"}), strict=True):
        assert found["notes"][-2:] == [
            "computed on sim:0",
            "2 seeds were trained at once: numbers are those of each alone up to rounding",
        ]
        close(found, ng.ContinualStudy.compute_cell(cell), SINGLE)


def test_a_run_trains_them_at_once_and_a_run_on_the_cpu_does_not(sim, tmp_path, monkeypatch):
    together, whole = [], ng.ContinualStudy.measure_seeds.__func__

    def measure_seeds(cls, problem, width, seeds):
        together.append((width, list(seeds)))
        return whole(cls, problem, width, seeds)

    monkeypatch.setattr(ng.ContinualStudy, "measure_seeds", classmethod(measure_seeds))
    with telling_of_memory(PLENTY, PLENTY):
        runs = ng.run(study(), tmp_path / "sim", engine=AtOnce(1), progress=False)
    assert together == [(8, [0, 1, 2]), (4, [0, 1, 2])]
    assert runs.counts() == {"done": 6}
    together.clear()
    ng.run(study("cpu"), tmp_path / "cpu", engine=AtOnce(1), progress=False)
    assert together == []
    with telling_of_memory(PLENTY, PLENTY):
        ng.run(study("sim", seeds=5), tmp_path / "cpu", engine=AtOnce(1), progress=False)
    assert together == [(8, [3, 4]), (4, [3, 4])], "a store of a CPU goes on on a device"
    assert ng.OptimizationStudy.preset("smoke", device="sim").stacks([{}] * 3, 1) == [[0], [1], [2]]


def test_a_stack_is_cut_to_the_free_memory_of_the_device(sim, monkeypatch):
    one = study(seeds=6, widths=[8])
    cells = one.cells()
    need = [one.memory(cells[0], seeds) for seeds in range(7)]
    assert 0 < need[1] < need[2] < need[6] < 6 * need[1], "all but the process itself is counted for each"
    with telling_of_memory(int(need[6]) + 1, PLENTY):
        assert one.stacks(cells, 4) == [[0, 1, 2, 3, 4, 5]]
        assert one.most_workers(4, cells[:1], [6]) == 4, "all that there is to do has room"
    with telling_of_memory(int(need[3]) + 1, PLENTY):
        assert one.stacks(cells, 1) == [[0, 1, 2], [3, 4, 5]]
        with pytest.warns(StudyWarning, match="a worker takes up to .* 1 workers at once instead of 2"):
            assert one.most_workers(2, cells[::3], [3, 3]) == 1
    with telling_of_memory(int(need[1]), PLENTY):
        assert one.stacks(cells, 1) == [[i] for i in range(6)]
    with telling_of_memory(int(need[2]), int(need[2])):
        ng.ContinualStudy.compute_cells(cells[:2], {"device": "sim"})
        with pytest.raises(StudyError, match=r"needs about .* by the forecast, and sim:0 has"):
            ng.ContinualStudy.compute_cells(cells[:3], {"device": "sim"})
    with telling_of_memory(int(need[3]) + 1, PLENTY):
        assert "Up to 3 seeds are trained at once there" in _preview(one, 1, monkeypatch)
    monkeypatch.delattr(type(torch.get_device_module("sim")), "mem_get_info")
    assert one.stacks(cells, 1) == [[i] for i in range(6)], "where it does not say"


def test_a_stack_that_is_out_of_memory_is_computed_one_by_one(sim, tmp_path, monkeypatch):
    def train_tasks(networks, *given, **settings):
        if len(networks) > 1:
            raise torch.OutOfMemoryError("sim out of memory")
        return ng.continual.train_tasks(networks, *given, **settings)

    monkeypatch.setattr(learner, "train_tasks", train_tasks)
    with telling_of_memory(PLENTY, PLENTY):
        runs = ng.run(study(widths=[4], seeds=2), tmp_path, engine=AtOnce(1), progress=False)
    assert runs.counts() == {"done": 2}
    for cell in runs.cells:
        notes = cell.result()["notes"]
        assert notes[-2:] == [
            "computed on sim:0",
            "computed alone, as 2 seeds at once failed: OutOfMemoryError: sim out of memory",
        ]


def test_a_smoke_cell_of_every_study_takes_two_seeds(sim):
    """Those that do not train them at once measure one after the other."""
    for kind in (ng.OptimizationStudy, ng.ContinualStudy):
        cell = smoke(kind)[1][0]
        found = kind.compute_cells([cell, {**cell, "seed": 1}], {"device": "sim"})
        assert len(found) == 2
        assert found[0]["scalars"] != found[1]["scalars"]
