"""Every number beside its definition with the Jacobian written out in float64."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.func import hessian
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.practice.monitor import SampledOutputs, present_network, stability_limit, start_network
from ntkgap.practice.monitor.curvature import LeadingCurvature
from ntkgap.practice.monitor.linearization_gap import Linearization
from ntkgap.practice.monitor.probe_kernel import ProbeKernel
from tests.practice.monitor.networks import BUILD, case, dense
from tests.tolerances import CANCELLING, EXACT

LOSSES = {"mean": nn.CrossEntropyLoss(), "squared": "squared"}


def definitions(before, after, x, y, loss):
    f0, j0, start = dense(before, x)
    f, j, now = dense(after, x)
    k0, k = j0 @ j0.T, j @ j.T
    n = len(y)
    columns = y.double().reshape(n, -1) if y.is_floating_point() else F.one_hot(y, len(f) // n).double()
    flat = columns.reshape(-1)

    def value(outputs):
        if loss == "squared":
            return 0.5 * (outputs - flat).square().sum()
        return F.cross_entropy(outputs.view(n, -1), y)

    curvature = j.T @ hessian(value)(f) @ j
    return {
        "loss": value(f),
        "linearization_gap": (f - f0 - j0 @ (now - start)).norm() / (f - f0).norm(),
        "kernel_change": (k - k0).norm() / k0.norm(),
        "kernel_distance": 1 - (k * k0).sum() / (k.norm() * k0.norm()),
        "alignment": flat @ k @ flat / (k.norm() * flat.square().sum()),
        "effective_rank": k.trace() ** 2 / k.square().sum(),
        "kappa_max": torch.linalg.eigvalsh(curvature)[-1],
        "parameter_change": (now - start).norm() / start.norm(),
    }


@pytest.mark.parametrize("name", BUILD)
def test_quantities_are_those_of_the_written_out_jacobian(name):
    made = case(name)
    loss = LOSSES["squared" if name == "one output" else "mean"]
    before = copy.deepcopy(made.model)
    optimizer = torch.optim.SGD([p for p in made.model.parameters() if p.requires_grad], lr=0.1, momentum=0.5)
    monitor = ng.Monitor(made.model, made.x, made.y, loss=loss, optimizer=optimizer, batch_size=6, budget=None)
    made.move()
    found = monitor.observe(1)
    expected = definitions(before, made.model, made.x, made.y, loss)
    for quantity, value in expected.items():
        assert found[quantity] == pytest.approx(float(value), rel=CANCELLING, abs=1e-9), quantity
    assert found["stability_ratio"] == pytest.approx(float(expected["kappa_max"]) * 0.1 / 3, rel=CANCELLING)
    again = ng.compare_checkpoints(before, made.model, made.x, made.y, loss=loss)
    assert {q: again[q] for q in expected} == pytest.approx({q: found[q] for q in expected}, rel=EXACT)


def test_held_out_examples_apart():
    made, other = case("batch normalization"), case("batch normalization", n=9)
    before = copy.deepcopy(made.model)
    monitor = ng.Monitor(made.model, made.x, x_test=other.x[6:], budget=None)
    made.move()
    found = monitor.observe(3)
    expected = definitions(before, made.model, other.x[6:], other.y[6:], "mean")
    for quantity in ("linearization_gap", "kernel_change", "kernel_distance", "effective_rank"):
        assert found[f"{quantity}_test"] == pytest.approx(float(expected[quantity]), rel=CANCELLING), quantity
        assert found[quantity] != pytest.approx(found[f"{quantity}_test"], rel=1e-3)
    assert math.isnan(found["alignment"])


def test_layers():
    made = case("batch normalization")
    before = copy.deepcopy(made.model)
    monitor = ng.Monitor(made.model, made.x, budget=None)
    made.move()
    monitor.observe(1)
    table = monitor.by_layer().set_index("layer")
    assert table["kernel_change"].sum() == pytest.approx(1.0, rel=EXACT)
    (_, j0, start), (_, j, now) = dense(before, made.x), dense(made.model, made.x)
    moved, own = j @ j.T - j0 @ j0.T, slice(0, 30)  # 6 · 4 weights and 6 biases
    share = ((j[:, own] @ j[:, own].T - j0[:, own] @ j0[:, own].T) * moved).sum() / moved.square().sum()
    assert table.loc["0", "kernel_change"] == pytest.approx(float(share), rel=CANCELLING)
    change = (now - start)[own].norm() / start[own].norm()
    assert table.loc["0", "parameter_change"] == pytest.approx(float(change), rel=CANCELLING)


def test_signs():
    made = case("batch normalization")
    before = copy.deepcopy(made.model).eval()
    monitor = ng.Monitor(made.model, made.x, budget=None)
    made.move(0.3)
    found = monitor.observe(1)
    after = copy.deepcopy(made.model).eval()
    expected = ((before[:2](made.x) > 0) != (after[:2](made.x) > 0)).float().mean()
    assert 0 < found["signs_changed"] == pytest.approx(float(expected))
    assert monitor.by_layer().set_index("layer").loc["2", "signs_changed"] == found["signs_changed"]


def test_signs_of_functions_and_of_layers_called_twice():
    tied = case("tied weights")
    monitor = ng.Monitor(tied.model, tied.x, budget=None)
    tied.move(0.5)
    monitor.observe(1)
    layers = monitor.by_layer().dropna(subset="signs_changed")["layer"]
    assert list(layers) == ["", "#2"]  # F.relu in the network's own forward, twice
    inside = case("attention")
    monitor = ng.Monitor(inside.model, inside.x, budget=None)
    inside.move(0.5)
    monitor.observe(1)
    assert list(monitor.by_layer().dropna(subset="signs_changed")["layer"]) == ["block"]


def test_a_model_linear_in_its_parameters_is_its_own_linearization():
    model, x = nn.Linear(4, 2), torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    monitor = ng.Monitor(model, x, budget=None)
    with torch.no_grad():
        model.weight += 1.0
    found = monitor.observe(1)
    assert found["linearization_gap"] < 1e-6
    assert found["kernel_change"] < 1e-12
    assert math.isnan(found["signs_changed"])


def test_laziness_makes_the_gap_small():
    gaps = []
    for alpha in (1.0, 10.0, 100.0):
        generator = torch.Generator().manual_seed(0)
        model = ng.MLP(
            4, 1, width=32, depth=2, nonlinearity="erf", alpha=alpha, antisymmetric=True, generator=generator
        )
        x, y = torch.randn(8, 4, generator=generator), torch.randn(8, 1, generator=generator)
        monitor = ng.Monitor(model, x, y, budget=None)
        ng.train(model, (x, y), learning_rate=0.01, steps=20)
        gaps.append(monitor.observe(20)["linearization_gap"])
    assert gaps[1] / gaps[0] == pytest.approx(0.01, rel=0.2)
    assert gaps[2] / gaps[1] == pytest.approx(
        0.01, rel=0.2
    )  # O(1/α²): the quadratic terms of the two halves cancel


def test_nothing_has_moved_at_the_start():
    made = case("dropout")
    found = ng.Monitor(made.model, made.x, made.y, budget=None).observe(0)
    assert found["kernel_change"] == found["parameter_change"] == found["signs_changed"] == 0
    assert math.isnan(found["linearization_gap"])  # 0/0: nothing was learned, and the gap says nothing


@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.5}, {"momentum": 0.9, "nesterov": True}],
    ids=str,
)
def test_stability_limits_are_where_steps_begin_to_grow(settings):
    def size_after(curvature):
        theta = torch.ones((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([theta], lr=0.1, **settings)
        for _ in range(1000):
            optimizer.zero_grad()
            (0.5 * curvature * theta**2).backward()
            optimizer.step()
        return abs(theta.item())

    limit, reason = stability_limit(torch.optim.SGD([torch.zeros(1)], lr=0.1, **settings))
    assert not reason
    assert size_after(0.99 * limit) < 0.1
    assert not size_after(1.01 * limit) < 10


def test_no_stability_limit_where_there_is_no_single_number():
    one, two = torch.zeros(1), torch.zeros(1)
    limit, reason = stability_limit(torch.optim.Adam([one]))
    assert math.isnan(limit)
    assert "Adam" in reason
    groups = [{"params": [one], "lr": 0.1}, {"params": [two], "lr": 0.2}]
    limit, reason = stability_limit(torch.optim.SGD(groups, lr=0.1))
    assert math.isnan(limit)
    assert "groups" in reason


def test_curvature_of_sums_is_that_of_a_batch():
    made = case("dropout")
    values = {}
    for name, loss, size in (
        ("mean", "mean", None),
        ("sum", "sum", 6),
        ("larger", "sum", 12),
        ("silent", "sum", None),
    ):
        loss = nn.CrossEntropyLoss(reduction=loss)
        monitor = ng.Monitor(made.model, made.x, made.y, loss=loss, batch_size=size, budget=None)
        values[name] = monitor.observe(0)["kappa_max"]
        assert any("batch_size" in note for note in monitor.notes) == (name == "silent")
    assert values["sum"] == pytest.approx(6 * values["mean"])
    assert values["larger"] == pytest.approx(12 * values["mean"])
    assert values["silent"] == values["sum"]


def test_power_iteration_finds_the_largest_curvature():
    made = case("dropout", dtype=torch.float64)
    start, now = start_network(made.model, torch.float64), present_network(made.model, torch.float64)
    _, j, _ = dense(made.model, made.x)
    outputs = now(made.x).detach()
    leading = LeadingCurvature(Linearization(start, made.x))
    found = leading.iterate(now, made.x, None, outputs, iterations=300, tolerance=1e-8)
    assert found == pytest.approx(float(torch.linalg.eigvalsh(j @ j.T)[-1]), rel=CANCELLING)
    assert leading.residual < 1e-6
    assert LeadingCurvature(Linearization(start, made.x)).iterate(now, made.x, None, outputs, 1) < found


def test_a_kernel_that_is_not_that_of_the_gradients_is_computed_again_with_all_checks():
    model = ng.MLP(5, 3, width=8, depth=2, nonlinearity="tanh").double()
    x = torch.randn(9, 5, dtype=torch.float64)
    known = ProbeKernel(SampledOutputs(), x)
    known.check(model)
    found = known.at(model)
    assert known.confirmed(model, found) is found
    wrong = {name: k.clone() for name, k in found.items()}
    next(iter(wrong.values()))[7, 7, 0, 0] *= 1.1  # beyond the examples on which the structure is checked
    again = known.confirmed(model, wrong)
    assert not known.trusted
    for name, kernel in found.items():
        assert torch.allclose(again[name], kernel, rtol=1e-12)
