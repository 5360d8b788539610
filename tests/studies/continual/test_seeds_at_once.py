"""Cells of several seeds that are trained as one stack: the numbers of each alone, whatever the others do."""

import copy
import math

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.continual.problem import ContinualProblem
from ntkgap.sweep.compute_cell import Task, computed_at_once
from tests.studies.continual.test_prediction import TINY
from tests.tolerances import EXACT, SINGLE

SMALL = {
    **TINY,
    "data": {**TINY["data"], "n_train": 12, "n_test": 12},
    "stream": {**TINY["stream"], "tasks": 2},
    "training": {"fraction_of_critical": 0.4, "steps": [2, 6]},
}
METHODS = {"joint": True, "ogd": 6, "ewc": 1.0, "replay": 4}
SGD = {"optimizer": "sgd", "momentum": 0.5, "learning_rate": 0.01, "loss": "cross_entropy", "batch_size": 5}
KINDS = {
    "gradient descent": {"methods": METHODS, "linearized": True},
    "until a score": {"training": {**SMALL["training"], "accuracies": [0.5, 0.8]}},
    "heads": {"stream": {"kind": "split", "tasks": 2, "heads": "per_task"}, "methods": {"ogd": 6}},
    "batches": {"training": {**SGD, "steps": [2, 5]}, "kernels": [], "methods": {"replay": 4}},
    "adam": {"training": {"optimizer": "adam", "learning_rate": 0.01, "steps": [2, 5]}, "kernels": []},
    "own": {"train": {"optimizer": "sgd", "learning_rate": 0.01, "steps": 20}, "methods": {"joint": True}},
}


def cells(seeds=(0, 1), **changes):
    problem = {**copy.deepcopy(SMALL), **copy.deepcopy(changes)}
    return ng.ContinualStudy.build({"seeds": list(seeds), "problems": [problem]}).cells()


def single(cell):
    return ng.ContinualStudy.compute_cell(cell)


def close(found, expected, tolerance):
    assert found["diverged"] == expected["diverged"]
    assert list(found["scalars"]) == list(expected["scalars"])
    assert list(found["curves"]) == list(expected["curves"])
    for name, value in expected["scalars"].items():
        assert found["scalars"][name] == pytest.approx(value, rel=tolerance, abs=tolerance, nan_ok=True), name
    for name, values in expected["curves"].items():
        assert found["curves"][name] == pytest.approx(values, rel=tolerance, abs=tolerance, nan_ok=True), name


@pytest.fixture
def in_float64(monkeypatch):
    """Then numbers differ by so little that ReLUs do not amplify it."""
    load, network = ContinualProblem.load, ContinualProblem.network
    monkeypatch.setattr(ContinualProblem, "load", lambda self, seed: load(self, seed).to(torch.float64))
    monkeypatch.setattr(ContinualProblem, "network", lambda *given: network(*given).double())


@pytest.mark.parametrize("kind", KINDS)
def test_each_has_the_numbers_that_it_has_alone(kind, in_float64):
    asked = cells(**KINDS[kind])
    found = ng.ContinualStudy.compute_cells(asked)
    for cell, one in zip(asked, found, strict=True):
        assert one["notes"].pop() == "2 seeds were trained at once: numbers are those of each alone up to rounding"
        expected = single(cell)
        assert one["notes"] == expected["notes"]
        close(one, expected, EXACT)
    assert found[0]["scalars"] != found[1]["scalars"]


def test_in_float32_up_to_rounding():
    """Of a smooth network: where a ReLU is at its kink, rounding decides what is trained on."""
    asked = cells(model={**TINY["model"], "nonlinearity": "erf"})
    for cell, one in zip(asked, ng.ContinualStudy.compute_cells(asked), strict=True):
        close(one, single(cell), SINGLE)


def test_one_that_diverges_takes_no_other_along(monkeypatch, in_float64):
    """The second seed has ten thousand times the learning rate."""
    preset_plan = Learner._preset_plan

    def plan(self):
        found = preset_plan(self)
        found.rates = [rate * (1e4 if self.seed == 1 else 1.0) for rate in found.rates]
        return found

    monkeypatch.setattr(Learner, "_preset_plan", plan)
    asked = cells((0, 1, 2), methods={"ewc": 1.0})
    found = ng.ContinualStudy.compute_cells(asked)
    assert [one["diverged"] for one in found] == [False, True, False]
    assert math.isinf(found[1]["scalars"]["forgetting_long"])
    assert any("diverged" in note for note in found[1]["notes"])
    for cell, one in zip(asked, found, strict=True):
        close(one, single(cell), EXACT)


def outcomes(asked):
    first, *beside = (Task(ng.ContinualStudy.compute, cell, None) for cell in asked)
    name = ng.ContinualStudy.preset("smoke").compute_at_once
    return list(computed_at_once(Task(first.compute, first.cell, None, {}, {}, name, tuple(beside))))


def test_one_that_fails_fails_alone(monkeypatch):
    network = Learner.network

    def build(self):
        if self.seed == 1:
            raise StudyError("this seed has no network")
        return network(self)

    monkeypatch.setattr(Learner, "network", build)
    found = outcomes(cells((0, 1, 2)))
    assert [state for _, state, _ in found] == ["done", "failed", "done"]
    assert found[1][2]["message"] == "this seed has no network"
    for task, _, content in (found[0], found[2]):
        assert "seconds" in content
        assert content["notes"] == ["computed alone, as 3 seeds at once failed: this seed has no network"]
        assert content["scalars"] == single(task.cell)["scalars"]


def test_seeds_whose_networks_are_not_alike_are_trained_one_by_one(monkeypatch):
    network = ContinualProblem.network

    def build(self, data, width, generator):
        return network(self, data, width + int(generator.initial_seed() % 2), generator)

    monkeypatch.setattr(ContinualProblem, "network", build)
    by_size = {}
    for cell in cells(range(8)):
        learner = Learner(ng.ContinualStudy.problem_of(cell), 8, cell["seed"])
        by_size.setdefault(sum(p.numel() for p in learner.network().parameters()), cell)
    unlike = list(by_size.values())
    assert len(unlike) == 2
    for task, state, content in outcomes(unlike):
        assert state == "done"
        assert (
            "2 seeds at once failed: the members of an ensemble must share one architecture"
            in content["notes"][-1]
        )
        assert content["scalars"] == single(task.cell)["scalars"]


def test_a_step_of_a_stack_takes_as_many_calls_as_one_of_a_single_network(monkeypatch):
    calls = []
    linear = torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear", lambda *given: calls.append(1) or linear(*given))

    def count(steps, seeds):
        calls.clear()
        training = {**SMALL["training"], "steps": [2, steps]}
        ng.ContinualStudy.compute_cells(cells(range(seeds), kernels=[], training=training))
        return len(calls)

    more = count(20, 1) - count(10, 1)
    assert more > 0
    assert count(20, 3) - count(10, 3) == more
