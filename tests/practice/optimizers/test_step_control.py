import copy

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.practice import natural_gradient_descent
from ntkgap.practice.optimizers.gram_systems import CholeskySystem
from ntkgap.practice.optimizers.step_control import predicted_reduction
from ntkgap.practice.training.losses import squared_loss
from tests.practice.problems import small_problem
from tests.reference.dense import dense_jacobian, natural_gradient_direction
from tests.tolerances import ITERATED


def loss_of(model, data):
    return squared_loss(model(data.x), data.y).item()


def test_predicted_reductions_are_those_of_the_linearized_network(generator):
    """The reduction that decides over a step, against the loss of the dense linear model after that step."""
    model, data, _ = small_problem(generator)
    system = CholeskySystem(model, data, None)
    j = dense_jacobian(model, data.x)
    for damping, rate in ((0.0, 1.0), (0.3, 0.5), (50.0, 2.0)):
        weights = system.solve(damping)
        step = -rate * natural_gradient_direction(j, system.residual.reshape(-1), damping)
        after = system.residual.reshape(-1) + j @ step
        expected = 0.5 * (system.residual.square().sum() - after.square().sum()).item()
        assert predicted_reduction(system.residual, weights, damping, rate) == pytest.approx(
            expected, rel=ITERATED
        )


def test_the_search_takes_the_largest_rate_that_keeps_its_promise(generator):
    """By hand: every candidate applied to a copy. From here full steps overshoot."""
    model, data, _ = small_problem(generator, width=4)
    with torch.no_grad():
        for p in model.parameters():
            p *= 2
    start, taken = copy.deepcopy(model), []
    curve = natural_gradient_descent(model, data, learning_rate="search", steps=6, damping=1e-3)
    assert all(b < a for a, b in zip(curve.losses, curve.losses[1:], strict=False))
    for step in range(6):
        before = loss_of(start, data)
        j, r = dense_jacobian(start, data.x), (start(data.x) - data.y).detach().reshape(-1)
        direction = natural_gradient_direction(j, r, 1e-3)
        for k in range(11):
            moved = copy.deepcopy(start)
            theta = nn.utils.parameters_to_vector(start.parameters()).detach()
            nn.utils.vector_to_parameters(theta - 0.5**k * direction, moved.parameters())
            promised = before - 0.5 * (r - 0.5**k * j @ direction).square().sum().item()
            if before - loss_of(moved, data) >= 0.5 * promised:
                break
        taken.append(0.5**k)
        start = moved
        assert loss_of(start, data) == pytest.approx(curve.losses[step + 1], rel=1e-6)
    assert curve.learning_rates == taken
    assert min(taken) < 1  # else nothing had been searched for


def test_adaptive_damping_follows_the_ratio_of_reductions(generator):
    """By hand: Nielsen's rule with dense least squares. Steps from a start this large overshoot."""
    model, data, _ = small_problem(generator, width=4)
    with torch.no_grad():
        for p in model.parameters():
            p *= 6
    start, taken, rejected = copy.deepcopy(model), [], 0
    curve = natural_gradient_descent(model, data, learning_rate=1.0, steps=8, damping="adaptive")
    j = dense_jacobian(start, data.x)
    damping, factor = 1e-3 * (j @ j.T).diagonal().mean().item(), 2.0
    while len(taken) < 8:
        before = loss_of(start, data)
        j, r = dense_jacobian(start, data.x), (start(data.x) - data.y).detach().reshape(-1)
        direction = natural_gradient_direction(j, r, damping)
        moved = copy.deepcopy(start)
        theta = nn.utils.parameters_to_vector(start.parameters()).detach()
        nn.utils.vector_to_parameters(theta - direction, moved.parameters())
        ratio = (before - loss_of(moved, data)) / (before - 0.5 * (r - j @ direction).square().sum().item())
        if ratio > 0:
            taken.append(damping)
            start, factor = moved, 2.0
            damping *= max(1 / 3, 1 - (2 * ratio - 1) ** 3)
        else:
            rejected += 1
            damping, factor = damping * factor, 2 * factor
    assert curve.dampings == pytest.approx(taken, rel=1e-6)
    assert curve.losses[-1] == pytest.approx(loss_of(start, data), rel=1e-6)
    assert all(b < a for a, b in zip(curve.losses, curve.losses[1:], strict=False))
    assert rejected > 0  # else only half of the rule was seen


def test_adaptive_damping_gets_along_with_a_singular_gram_matrix(generator):
    x = torch.randn(1, 3, dtype=torch.float64, generator=generator).repeat(4, 1)
    data = ng.Dataset(x, torch.randn(4, 1, dtype=torch.float64, generator=generator))
    model = nn.Linear(3, 1).double()
    curve = natural_gradient_descent(model, data, learning_rate=1.0, steps=4, damping="adaptive")
    best = 0.5 * (data.y - data.y.mean()).square().sum().item()  # all that one input can do
    assert curve.losses[-1] == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("settings", [{"learning_rate": "search"}, {"learning_rate": 1.0, "damping": "adaptive"}])
def test_at_a_minimum_there_is_no_step_and_the_network_stays(settings):
    """Mirrored targets: the gradient is zero where the outputs are, and rounding decides over any step."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    data = ng.Dataset(torch.ones(2, 1).double(), torch.tensor([[1.0], [-1.0]]).double())
    settings = {"damping": 0.1} | settings
    curve = natural_gradient_descent(model, data, steps=3, **settings)
    assert model.weight.item() == 0
    assert curve.losses[-1] == 1.0
    if settings["damping"] == "adaptive":
        assert "no damping up to" in curve.stopped
