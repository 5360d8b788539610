"""Cells that are computed in one call: each has its own directory, progress line, failure and resumption."""

import json
import re
from pathlib import Path

import pytest

import ntkgap as ng
from ntkgap.sweep.compute_cell import Task, computed_at_once
from ntkgap.sweep.engines import LocalEngine
from tests.here import Here
from tests.sweep.test_run import computed, run
from tests.sweep.toy import StackedToy, ToyStudy


def calls(log):
    return sorted(Path(log).read_text().splitlines()) if Path(log).exists() else []


@pytest.fixture
def logs(tmp_path):
    return {"log": str(tmp_path / "log"), "calls": str(tmp_path / "calls")}


def test_a_stack_is_one_call_and_its_cells_are_what_they_are_alone(tmp_path, logs, capfd):
    study = StackedToy(widths=(1, 2), seeds=(0, 1, 2), **logs)
    runs = ng.run(study, tmp_path / "store", workers=2)
    assert calls(logs["calls"]) == ["0 1 2", "0 1 2"]
    alone = run(ToyStudy(widths=(1, 2), seeds=(0, 1, 2)), tmp_path / "alone")
    columns = ["width", "seed", "state", "square"]
    assert runs.to_pandas()[columns].equals(alone.to_pandas()[columns])
    assert len({cell.directory for cell in runs.cells}) == 6
    assert all(cell.result()["seconds"] < 1 for cell in runs.cells)
    lines = [line for line in capfd.readouterr().err.splitlines() if "toy · " in line]
    assert [re.sub(r"\d+\.\d s", "", line).split()[0] for line in lines] == [f"{i}/6" for i in range(1, 7)]


def test_a_seed_that_fails_fails_alone(tmp_path, logs):
    study = StackedToy(widths=(2,), seeds=range(4), fails_seed=1, **logs)
    runs = run(study, tmp_path / "store")
    assert runs.counts() == {"done": 3, "failed": 1}
    assert [(cell["seed"], message) for cell, message in runs.failures()] == [(1, "the seed is a toy")]
    notes = [cell.result()["notes"] for cell in runs.cells if cell.state == "done"]
    assert notes == [["computed alone, as 4 seeds at once failed: the seed is a toy"]] * 3
    assert run(study, tmp_path / "store").counts() == {"done": 3, "failed": 1}
    assert len(calls(logs["calls"])) == 1, "a single cell is no stack"
    run(study, tmp_path / "store", retry_failed=True)
    assert computed(logs["log"]).count("2 1") == 3, "in the stack, alone, and asked for again"


def test_a_seed_that_kills_its_process_is_lost_alone(tmp_path, logs):
    study = StackedToy(widths=(2,), seeds=range(3), dies_seed=1, **logs)
    runs = run(study, tmp_path / "store")
    assert {cell.cell["seed"]: cell.state for cell in runs.cells} == {0: "done", 1: "pending", 2: "done"}
    assert computed(logs["log"]).count("2 1") == 3
    assert calls(logs["calls"]) == ["0 1 2"]


def test_a_process_that_dies_of_the_stack_loses_nothing(tmp_path, logs):
    study = StackedToy(widths=(1, 2), seeds=range(3), dies_together_at=2, **logs)
    assert run(study, tmp_path / "store").counts() == {"done": 6}
    assert computed(logs["log"]) == sorted(f"{w} {s}" for w in (1, 2) for s in range(3))


def test_what_is_done_is_left_out_of_a_stack(tmp_path, logs):
    run(ToyStudy(widths=(2,), seeds=(1,), **logs), tmp_path / "store")
    assert run(StackedToy(widths=(2,), seeds=range(3), **logs), tmp_path / "store").counts() == {"done": 3}
    assert calls(logs["calls"]) == ["0 2"]
    run(StackedToy(widths=(2,), seeds=range(3), **logs), tmp_path / "store")
    assert computed(logs["log"]) == ["2 0", "2 1", "2 2"]


def test_what_another_run_has_in_hand_is_left_out_of_a_stack(tmp_path, logs):
    from ntkgap.sweep.reservations import Reservations

    study = StackedToy(widths=(2,), seeds=range(3), **logs)
    opened = ng.sweep.Store.create(tmp_path, study)
    opened.plan(study, study.cells())
    places = {cell.cell["seed"]: cell.directory for cell in opened.look_up(study.cells())}

    class Other(LocalEngine):
        """The other run lets go of its cell when our stack has ended."""

        def run(self, tasks):
            for event in super().run(tasks):
                yield event
                if event.task.cell["seed"] == 2:
                    other.release(places[1])

    with Reservations(tmp_path) as other:
        assert other.take(places[1])
        runs = ng.run(study, tmp_path, engine=Other(1), progress=False)
    assert runs.counts() == {"done": 3}
    assert calls(logs["calls"]) == ["0 2"]


def test_an_engine_that_knows_single_cells_alone_gets_those(tmp_path, logs):
    runs = ng.run(StackedToy(widths=(2,), seeds=range(3), **logs), tmp_path, engine=Here(), progress=False)
    assert runs.counts() == {"done": 3}
    assert calls(logs["calls"]) == []


def test_the_room_of_the_device_is_asked_for_whole_stacks(tmp_path):
    study, asked = StackedToy(widths=(1, 2), seeds=range(3)), []
    study.most_workers = lambda workers, cells, *seeds: asked.append((len(cells), *seeds)) or 1
    run(study, tmp_path)
    assert asked == [(2, [3, 3])]


@pytest.mark.parametrize("answer", [lambda cells: [], lambda cells: [{"notes": []}], lambda cells: 1 / 0])
def test_a_call_with_too_few_results_counts_as_failed(answer):
    found = {"one": lambda cell: {"notes": ["mine"], "seed": cell["seed"]}, "all": answer}
    beside = Task("one", {"seed": 1}, None)
    task = Task("one", {"seed": 0}, None, compute_at_once="all", beside=(beside,))
    results = list(computed_at_once(task, find=found.__getitem__))
    assert [(one.cell, state, content["seed"]) for one, state, content in results] == [
        ({"seed": 0}, "done", 0),
        ({"seed": 1}, "done", 1),
    ]
    assert all(content["notes"][0] == "mine" for _, _, content in results)
    assert all("2 seeds at once failed" in content["notes"][1] for _, _, content in results)
    json.dumps([content for _, _, content in results])
