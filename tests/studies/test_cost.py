"""What a sweep will take: memory from sizes, time from cells that were measured."""

import math

import numpy as np
import pytest
import torch
from torch import Generator, nn

import ntkgap as ng
from ntkgap.studies import cost, problem
from ntkgap.studies.cost import PROCESS_BYTES, Seconds, Sizes, network_sizes, pilots, sweep_seconds


def cell(width, seed=0, name="mine", variation=""):
    return {"problem": name, "variation": variation, "width": width, "seed": seed}


def test_sizes_of_a_network_are_counted():
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 5))
    parameters, activations = network_sizes(network, torch.zeros(7, 2, 4, 4))
    assert parameters == 3 * 2 * 9 + 3 + 48 * 5 + 5
    assert activations == 3 * 16 + 3 * 16 + 48 + 5  # of one example, whatever their number
    assert not any(module._forward_hooks for module in network.modules())


def test_hooks_are_taken_off_where_the_network_fails():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 1))
    with pytest.raises(RuntimeError):
        network_sizes(network, torch.zeros(1, 2))
    assert not any(module._forward_hooks for module in network.modules())


def test_memory_is_never_below_what_the_arrays_take():
    sizes = Sizes(parameters=10**6, activations=10**4, rows=1000, gradients=500)
    assert sizes.bytes >= PROCESS_BYTES + 8 * (10**6 + 10**4 * 500 + 1000**2)
    assert Sizes(0, 0, 0, 0).bytes == PROCESS_BYTES


@pytest.mark.parametrize("study", [ng.OptimizationStudy, ng.UncertaintyStudy, ng.ContinualStudy])
def test_every_problem_knows_its_sizes(study):
    for p in study.preset("smoke").problems:
        narrow, wide = p.sizes(8), p.sizes(32)
        network = p.network(p.example(0), 32, Generator().manual_seed(0))
        assert wide.parameters == sum(q.numel() for q in network.parameters())
        assert narrow.bytes < wide.bytes < 2e9


def test_seconds_between_two_widths_lie_on_a_line():
    seconds = Seconds([(cell(10), 1.0), (cell(30), 5.0), (cell(30, seed=1), 7.0), (cell(30, seed=2), 6.0)])
    assert seconds.of(cell(10)) == 1.0
    assert seconds.of(cell(30, seed=9)) == 6.0  # the median
    assert seconds.of(cell(20)) == pytest.approx(3.5)
    assert seconds.of(cell(5)) == 1.0  # never less than the narrowest that is known


def test_seconds_beyond_the_widest_grow_with_its_square():
    steep = Seconds([(cell(10), 1.0), (cell(100), 100.0)])
    assert 5000 < steep.of(cell(1000)) <= 10000
    flat = Seconds([(cell(10), 1.0), (cell(100), 1.0)])
    assert 1.0 <= flat.of(cell(1000)) < steep.of(cell(1000)) / 100
    assert Seconds([(cell(10), 1.0)]).of(cell(100)) == pytest.approx(25.0)
    for known in (steep, flat):
        found = [known.of(cell(m)) for m in (10, 50, 100, 101, 200, 1000)]
        assert found == sorted(found)


def test_what_is_known_of_no_problem_is_not_guessed():
    seconds = Seconds([(cell(10), 1.0), (cell(10, variation="a=1"), 3.0)])
    assert seconds.of(cell(10, name="other")) is None
    assert seconds.of(cell(10, variation="a=1")) == 3.0
    assert seconds.of(cell(10, variation="a=2")) == 1.0  # as long as its problem
    assert Seconds([]).of(cell(10)) is None


def test_workers_share_a_sweep():
    start = cost.SECONDS_TO_START
    assert sweep_seconds([], 3) == 0
    assert sweep_seconds([4, 3, 2, 1], 1) == start + 10
    assert sweep_seconds([4, 3, 2, 1], 2) == start + 5
    assert sweep_seconds([4, 3, 2, 1], 9) == start + 4
    rng = np.random.default_rng(0)
    cells = sorted(rng.random(50), reverse=True)
    for workers in (2, 3, 7):
        best = max(sum(cells) / workers, cells[0])
        assert best <= sweep_seconds(cells, workers) - start <= best + cells[0]


def test_pilots_are_the_narrowest_of_each_problem_and_one_of_middle_width(monkeypatch):
    tried = []

    def try_cells(study, cells, limit):
        tried.extend((c["problem"], c["width"]) for c in cells)
        return [(c, 1.0) for c in cells]

    monkeypatch.setattr(cost, "try_cells", try_cells)
    cells = [cell(m, seed, name) for name in "ab" for m in (64, 8, 32) for seed in (0, 1)]
    known = pilots(None, [*cells, cell(4, name="c"), cell(2, variation="d=1")])
    assert sorted(tried) == [("a", 8), ("a", 32), ("b", 8), ("b", 32), ("c", 4)]
    assert [tried.index((name, m)) < 3 for name, m in (("a", 8), ("b", 8), ("c", 4))] == [True] * 3
    assert known.of(cell(20, name="a")) == 1.0


def test_pilots_are_timed_in_a_worker_and_say_what_fails():
    study = ng.OptimizationStudy.preset("smoke", problems=["shallow"], widths=[4], seeds=1)
    (good,) = study.cells()
    bad = good | {"problem": "bad", "data": good["data"] | {"name": "gone.npz", "options": {}}}
    with pytest.warns(ng.errors.StudyWarning, match=r"bad · width 4 · seed 0 failed: no data file at .*gone.npz"):
        known = pilots(study, [good, bad], limit=300)
    assert 0 < known.of(good) < 300
    assert known.of(bad) is None


def test_a_network_far_beyond_the_machine_is_refused_before_it_is_built(monkeypatch):
    study = ng.OptimizationStudy.preset("smoke", problems=["MLP"], widths=[10**6])
    (p,) = study.problems
    built = []
    network = type(p).network
    monkeypatch.setattr(type(p), "network", lambda self, data, m, g: built.append(m) or network(self, data, m, g))
    with pytest.raises(
        ng.NtkgapError, match=r"needs about [\de+.]+ GB at width 1000000, its narrowest, .* smaller"
    ):
        study.check()
    assert max(built) <= 3 * problem.PROBE
    monkeypatch.setattr(problem, "physical_memory", lambda: math.inf)
    ng.OptimizationStudy.preset("smoke", problems=["MLP"], widths=[256]).check()


@pytest.mark.parametrize("name", ["MLP", "shallow"])
def test_parameters_of_wide_networks_are_told_from_two_narrow_ones(name, monkeypatch):
    (p,) = ng.OptimizationStudy.preset("smoke", problems=[name], widths=[512]).problems
    exact = sum(q.numel() for q in p.network(p.example(0), 512, Generator()).parameters())
    needed = cost.ITEM * cost.PARAMETER_COPIES * exact / 2
    monkeypatch.setattr(problem, "physical_memory", lambda: needed * 1.02)
    p.check()
    monkeypatch.setattr(problem, "physical_memory", lambda: needed * 0.98)
    with pytest.raises(ng.NtkgapError, match="use smaller widths"):
        p.check()


@pytest.mark.parametrize("model", [{"architecture": "convnet", "depth": 2}, {"architecture": "wideresnet"}, None])
def test_sizes_of_wide_networks_are_those_of_built_ones(model):
    (tried,) = ng.OptimizationStudy.preset("smoke", problems=["MLP"]).problems
    if model is not None:
        data = {"name": "digits", "n_train": 4, "n_test": 4, "options": {"flatten": False}}
        tried = type(tried).model_validate(tried.model_dump() | {"model": model, "data": data})
    data = tried.example(0)
    assert tried._wide_sizes(data, 200) == network_sizes(tried.network(data, 200, torch.Generator()), data.x)
