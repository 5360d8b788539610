"""What is foretold of a cell: sizes exactly, work in proportion, memory never below what the tensors take."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import ntkgap as ng
from ntkgap.errors import MemoryWarning, StudyError
from ntkgap.kernels import jacobian
from ntkgap.studies.estimate import (
    PROCESS_BYTES,
    SECONDS_TO_START,
    TYPICAL,
    Estimate,
    Machine,
    Work,
    sweep_seconds,
)
from ntkgap.studies.limit_cost import limit_entries
from ntkgap.studies.model import ModelSpec
from ntkgap.studies.network_sizes import NetworkSizes, SizesByWidth
from ntkgap.studies.optimization import estimates
from ntkgap.studies.optimization.race_spec import RaceSpec
from ntkgap.studies.optimization.race_work import race_work
from ntkgap.studies.optimization.study import OptimizationProblem
from ntkgap.studies.optimization.work import CellWork

IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ROWS = IMAGES.flatten(1)[:, :20]
TARGETS = torch.zeros(3, 4, dtype=torch.float64)

FAMILIES = {
    "shallow": (ModelSpec(architecture="shallow"), ng.Dataset(ROWS, TARGETS[:, :1])),
    "mlp": (ModelSpec(architecture="mlp", depth=3, bias_std=0.1), ng.Dataset(ROWS, TARGETS)),
    "mlp, antisymmetric": (ModelSpec(architecture="mlp", antisymmetric=True), ng.Dataset(ROWS, TARGETS)),
    "mlp, hidden": (ModelSpec(architecture="mlp", depth=2, trained="hidden"), ng.Dataset(ROWS, TARGETS)),
    "convnet": (ModelSpec(architecture="convnet", depth=2), ng.Dataset(IMAGES, TARGETS)),
    "convnet, flat": (ModelSpec(architecture="convnet", pooling="flatten"), ng.Dataset(IMAGES, TARGETS)),
    "wideresnet": (ModelSpec(architecture="wideresnet"), ng.Dataset(IMAGES, TARGETS)),
}

PROBLEM = {
    "name": "tiny",
    "model": {"architecture": "mlp", "depth": 2},
    "data": {"name": "sphere", "n_train": 6, "n_test": 7, "options": {"dim": 5}},
    "widths": [16],
    "natural_gradient": {"learning_rate": 0.5, "steps": 6},
    "gradient_descent": {"steps": 12},
}


def builder(family):
    spec, data = FAMILIES[family]
    return data, lambda width: spec.build(data, width, torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_of_a_wide_network_are_those_of_the_network_built(family):
    data, build = builder(family)
    foretold, counted = SizesByWidth(build, data.x).at(56), NetworkSizes.of(build(56), data.x)
    assert foretold.parameters == counted.parameters
    assert foretold.trainable == counted.trainable
    assert foretold.forward_flops == counted.forward_flops
    assert foretold.recipe.shapes == counted.recipe.shapes
    assert foretold.recipe.gradient_bytes == counted.recipe.gradient_bytes
    assert foretold.recipe.graph_bytes == pytest.approx(counted.recipe.graph_bytes, rel=0.01)


def test_multiplications_of_a_pass_are_those_that_torch_counts():
    """Counted by hand: every layer of the MLP is one product."""
    data, build = builder("mlp")
    n, d, m, c = 3, 20, 40, 4
    sizes = SizesByWidth(build, data.x).at(m)
    assert sizes.forward_flops == 2 * (d * m + 2 * m * m + m * c)
    with FlopCounterMode(display=False) as counter:
        build(m)(data.x)
    assert counter.get_total_flops() == n * sizes.forward_flops


@pytest.mark.parametrize("family", ["mlp", "convnet"])
def test_multiplications_of_a_gram_matrix_are_those_of_the_kernel(family):
    """Of a product J J'ᵀ: as many as torch counts, up to those that combine small factors."""
    data, build = builder(family)
    network = build(40)
    sizes = SizesByWidth(build, data.x).at(40)
    one, two = (jacobian(network, x) for x in (data.x, data.x + 1))
    with FlopCounterMode(display=False) as counter:
        one.gram(two)
    foretold = sum(cost.flops for cost in CellWork(sizes, 3, 3, limit_entries=0).contractions(3, False))
    assert foretold == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_work_grows_with_width_examples_and_steps():
    data, build = builder("convnet")
    by_width = SizesByWidth(build, data.x)

    def work(width=64, n=8, steps=5):
        cell = CellWork(by_width.at(width), n, 4, limit_entries=1e3)
        problem = OptimizationProblem(
            **PROBLEM
            | {
                "natural_gradient": {"steps": steps},
                "gradient_descent": {"steps": steps},
                "search": {"max_parameters": 10**9},
                "race": {"steps": steps, "second_order_steps": steps, "max_parameters": 10**9},
            }
        )
        return estimates.cell_work(problem, cell) + cell.limit(), cell.memory()

    smallest, least = work()
    for more in ({"width": 65}, {"n": 9}, {"steps": 6}):
        larger, memory = work(**more)
        assert larger.flops > smallest.flops, more
        assert larger.traffic > smallest.traffic, more
        assert memory >= least
    assert work(steps=6)[0].calls > smallest.calls
    assert work(width=65)[1] > least < work(n=9)[1]


def test_memory_holds_three_jacobians_and_the_spectra():
    data, build = builder("convnet")
    network = build(40)
    at = jacobian(network, data.x)
    gradients = {term.factor.g.data_ptr(): term.factor.g.nbytes for term in at.terms.values()}
    memory = CellWork(SizesByWidth(build, data.x).at(40), 3, 4, limit_entries=0.0).memory()
    parameters = sum(p.nbytes for p in network.parameters())
    assert memory > PROCESS_BYTES + 3 * sum(gradients.values()) + 3 * parameters + 5 * at.gram().nbytes


def test_an_infinitely_wide_pair_costs_the_pixels_squared_where_they_are_pooled():
    entries = {family: limit_entries(builder(family)[1](8), IMAGES) for family in ("convnet", "convnet, flat")}
    assert entries["convnet, flat"] > 64
    assert entries["convnet"] > 64**2
    pooled = nn.Sequential(nn.Linear(20, 8), nn.MaxPool1d(2), nn.Linear(4, 1)).double()
    assert limit_entries(pooled, ROWS) == 0  # there is no limit to be computed


def test_time_is_work_over_speed():
    machine = Machine(flops_per_second=100.0, bytes_per_second=10.0)
    work = Work(flops=200, traffic=30) + 2 * Work(flops=50)
    assert machine.seconds(work) == pytest.approx(3 + 3)
    assert machine.seconds(Work(calls=1)) > 0


def test_workers_share_the_cells_and_each_pays_once_for_what_widths_share():
    def cell(seconds, once=0.0):
        return Estimate(0, 0, seconds, once)

    cells = [("a", cell(3)), ("a", cell(2)), ("a", cell(2)), ("a", cell(1))]
    assert sweep_seconds(cells, 1) == SECONDS_TO_START + 8
    assert sweep_seconds(cells, 2) == SECONDS_TO_START + 4
    assert sweep_seconds(cells, 9) == SECONDS_TO_START + 3
    assert sweep_seconds([], 2) == 0
    shared = [("a", cell(5, 4)), ("a", cell(5, 4)), ("b", cell(5, 4))]
    assert sweep_seconds(shared, 1) == SECONDS_TO_START + 5 + 1 + 5


def test_a_gram_matrix_too_large_to_decompose_is_refused():
    data = {"name": "sphere", "n_train": 20_001, "n_test": 1, "options": {"dim": 2}}
    with pytest.raises(StudyError, match=r"'tiny': 20001 examples.*20001 rows.*at most 20000.*fewer examples"):
        OptimizationProblem(**PROBLEM | {"data": data}).check()


def test_a_cell_that_does_not_fit_the_machine_is_foretold(monkeypatch):
    monkeypatch.setattr(estimates, "physical_memory", lambda: 1e8)
    with pytest.warns(MemoryWarning, match="'tiny' needs about .* GB at width 16"):
        OptimizationProblem(**PROBLEM).check()


def test_the_dearest_cells_come_first_and_hopeless_ones_last():
    study = ng.OptimizationStudy.preset("smoke", seeds=[0])
    raced = study.cells()
    cells = [{k: v for k, v in cell.items() if k != "race"} for cell in raced]
    costs = {(cell["problem"], cell["width"]): study.cost(cell) for cell in cells}
    name = cells[-1]["problem"]
    assert costs[name, 128] > costs[name, 64] > costs[name, 16] > 0
    with_race = {(cell["problem"], cell["width"]): study.cost(cell) for cell in raced}
    assert with_race[name, 16] > costs[name, 16]
    assert with_race[name, 128] == costs[name, 128]  # too large to race
    hopeless = copy.deepcopy(cells[0])  # one output, but the digits have ten classes
    hopeless["data"] |= {"name": "digits", "options": {}}
    assert study.cost(hopeless) == 0


def test_a_race_costs_what_its_methods_and_their_tuning_do():
    data, build = builder("mlp")
    cell = CellWork(SizesByWidth(build, data.x).at(64), 8, 4, limit_entries=0)

    def seconds(**settings):
        spec = RaceSpec(**{"steps": 50, "second_order_steps": 10, "optimizers": ["adam"]} | settings)
        return TYPICAL.seconds(race_work(spec, cell, observations=3))

    alone = seconds()
    assert seconds(optimizers=["gd"]) < alone  # is not tuned
    assert seconds(optimizers=["adam", "ngd"]) > alone
    assert seconds(tuning_points=9) > 1.5 * alone
    assert (
        seconds(optimizers=["adam", "kfac"]) > seconds(optimizers=["adam", "kfac"], second_order_steps=5) > alone
    )
    large = OptimizationProblem(**PROBLEM | {"race": {"steps": 9, "second_order_steps": 9, "max_parameters": 10}})
    assert estimates.cell_work(large, cell) == estimates.cell_work(OptimizationProblem(**PROBLEM), cell)
