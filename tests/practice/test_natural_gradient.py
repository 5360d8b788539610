import copy
import re

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from ntkgap.kernels import as_matrix, jacobian
from ntkgap.practice import jacobian_change, natural_gradient_descent
from ntkgap.practice.gram_systems import LARGEST_GRAM, CholeskySystem
from ntkgap.practice.losses import squared_loss
from ntkgap.practice.step_control import predicted_reduction
from ntkgap.theory import stability_constant
from tests.reference.dense import dense_jacobian, natural_gradient_direction, natural_gradient_step
from tests.tolerances import CANCELLING, ITERATED


def test_one_full_undamped_step_solves_a_linear_model(generator):
    data = ng.Dataset(*(torch.randn(5, k, dtype=torch.float64, generator=generator) for k in (20, 3)))
    curve = natural_gradient_descent(nn.Linear(20, 3).double(), data, learning_rate=1.0, steps=1)
    assert curve.losses[1] < ITERATED * curve.losses[0]


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("damping", [1e-2, 1.0])
def test_the_gram_form_is_the_parameter_form(nonlinearity, damping, generator):
    data, _ = ng.load_data("sphere", 6, 3, dim=4)
    data = data.to(torch.float64)
    model = ng.MLP(4, 1, 5, 2, nonlinearity, bias_std=0.1, generator=generator).double()
    expected = natural_gradient_step(model, data, learning_rate=0.7, damping=damping)
    natural_gradient_descent(model, data, learning_rate=0.7, steps=1, damping=damping)
    found = nn.utils.parameters_to_vector(model.parameters())
    torch.testing.assert_close(found, expected, rtol=ITERATED, atol=ITERATED)


def test_jacobian_change_is_the_spectral_norm_of_the_difference(generator):
    data, _ = ng.load_data("digits", 5, 3)
    x = data.x.double()
    start = ng.MLP(64, 10, 12, 2, "tanh", generator=generator).double()
    moved = copy.deepcopy(start)
    with torch.no_grad():
        for p in moved.parameters():
            p += 0.01 * torch.randn(p.shape, dtype=p.dtype, generator=generator)
    at, at0 = jacobian(moved, x), jacobian(start, x)
    found = jacobian_change(as_matrix(at.gram()), as_matrix(at.gram(at0)), as_matrix(at0.gram()))
    exact = torch.linalg.matrix_norm(dense_jacobian(moved, x) - dense_jacobian(start, x), 2).item()
    assert found == pytest.approx(exact, rel=CANCELLING)
    nothing = jacobian_change(*[as_matrix(at0.gram())] * 3)
    assert nothing <= CANCELLING * torch.linalg.matrix_norm(dense_jacobian(start, x), 2)


@pytest.mark.parametrize(
    ("nonlinearity", "width", "published"),
    [("relu", 64, 2.28), ("relu", 1024, 1.08), ("erf", 64, 1.89), ("erf", 1024, 0.45)],
)
def test_drift_on_the_sphere_has_its_known_size(nonlinearity, width, published):
    """The largest C′ on the path agrees with values computed elsewhere as the mean of 5 seeds.

    16 unit vectors in 32 dimensions, y ~ N(0, 1), η = ½, 30 steps. Both means scatter over seeds.
    """
    largest = []
    for seed in range(20):
        data = ng.load_data("sphere", 16, 1, seed=seed, dim=32)[0].to(torch.float64)
        generator = torch.Generator().manual_seed(seed)
        net = ng.ShallowNet(32, width, nonlinearity, generator=generator).double()
        at0 = jacobian(net, data.x)
        gram0 = as_matrix(at0.gram())
        changes = []

        def observe(step, at, gram, at0=at0, gram0=gram0, changes=changes):
            changes.append(jacobian_change(gram, as_matrix(at.gram(at0)), gram0))

        natural_gradient_descent(net, data, learning_rate=0.5, steps=30, observe=observe)
        largest.append(stability_constant(max(changes), ng.spectrum(gram0).lambda_min))
    values = torch.tensor(largest)
    error = values.std() * (1 / 20 + 1 / 5) ** 0.5
    assert abs(values.mean() - published) < 3 * error
    assert 3 * error < 0.6 * published  # a value off by that much would not pass


def test_a_singular_gram_matrix_ends_the_run_with_the_remedy(generator):
    x = torch.randn(1, 3, dtype=torch.float64, generator=generator).repeat(4, 1)
    data = ng.Dataset(x, torch.randn(4, 1, dtype=torch.float64, generator=generator))
    model = nn.Linear(3, 1).double()
    curve = natural_gradient_descent(model, data, learning_rate=0.5, steps=3)
    assert "singular at step 0; set a damping" in curve.stopped
    assert natural_gradient_descent(model, data, learning_rate=0.5, steps=3, damping=0.1).stopped is None


def test_frozen_parameters_stay(generator):
    data, _ = ng.load_data("sphere", 4, 1, dim=3)
    model = ng.MLP(3, 1, 6, 2, "tanh", generator=generator).double()
    model[1].weight.requires_grad_(False)
    before = copy.deepcopy(model)
    curve = natural_gradient_descent(model, data.to(torch.float64), learning_rate=0.5, steps=2)
    assert torch.equal(model[1].weight, before[1].weight)
    assert not torch.equal(model[3].weight, before[3].weight)
    assert curve.losses[-1] < curve.losses[0]


def small(generator, n=8, width=24):
    data, test = ng.load_data("sphere", n, 4, dim=4)
    model = ng.MLP(4, 1, width, 2, "tanh", bias_std=0.1, generator=generator).double()
    return model, data.to(torch.float64), test.to(torch.float64)


def loss_of(model, data):
    return squared_loss(model(data.x), data.y).item()


def test_conjugate_gradients_take_the_steps_of_the_factorised_gram_matrix(generator):
    model, data, test = small(generator)
    other = copy.deepcopy(model)
    settings = {"learning_rate": 0.7, "steps": 3, "damping": 0.1, "test": test}
    exact = natural_gradient_descent(model, data, **settings)
    free = natural_gradient_descent(other, data, solver="conjugate_gradients", **settings)
    # Each step is solved to a relative residual of √ε = 1.5e-8.
    assert free.losses == pytest.approx(exact.losses, rel=1e-6)
    assert free.test_losses == pytest.approx(exact.test_losses, rel=1e-6)
    assert len(free.seconds) == len(exact.seconds) == len(exact.test_losses) == 4
    assert exact.dampings == free.dampings == [0.1] * 3
    assert exact.learning_rates == [0.7] * 3


def test_conjugate_gradients_that_do_not_converge_end_the_run_with_the_remedy(generator):
    x = torch.randn(1, 3, dtype=torch.float64, generator=generator).repeat(4, 1)
    data = ng.Dataset(x, torch.randn(4, 1, dtype=torch.float64, generator=generator))
    curve = natural_gradient_descent(
        nn.Linear(3, 1).double(), data, learning_rate=0.5, steps=3, solver="conjugate_gradients"
    )
    assert re.search(r"cannot be solved at step 0; .* raise damping", curve.stopped)


def test_predicted_reductions_are_those_of_the_linearised_network(generator):
    """The reduction that decides over a step, against the loss of the dense linear model after that step."""
    model, data, _ = small(generator)
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
    model, data, _ = small(generator, width=4)
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
    model, data, _ = small(generator, width=4)
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


def test_what_is_too_large_to_factorise_is_refused_at_once(monkeypatch):
    rows = LARGEST_GRAM // 10 + 1
    data = ng.Dataset(torch.zeros(rows, 2), torch.zeros(rows, 10))
    with pytest.raises(StudyError, match=r"Gram matrix of 20010 rows, and at most 20000 .*conjugate_gradients"):
        natural_gradient_descent(nn.Linear(2, 10), data, learning_rate=0.5, steps=1)
    monkeypatch.setattr("ntkgap.practice.gram_systems.default_budget", lambda device: 10**6)
    small = ng.Dataset(data.x[:100], data.y[:100])
    with pytest.raises(StudyError, match=r"take 0.0 GB where 0.0 GB may be used"):
        natural_gradient_descent(nn.Linear(2, 10), small, learning_rate=0.5, steps=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": "best"}, r"learning_rate must be a number or 'search', got 'best'"),
        ({"damping": "auto"}, r"damping must be a number or 'adaptive', got 'auto'"),
        ({"learning_rate": "search", "damping": "adaptive"}, r"choose one, and a number for the other"),
        ({"solver": "lu"}, r"unknown solver 'lu'; choose one of cholesky, conjugate_gradients"),
        ({"solver": "conjugate_gradients", "observe": print}, r"observe nothing"),
    ],
)
def test_options_that_do_not_exist_or_go_together_are_named(settings, words, generator):
    model, data, _ = small(generator)
    with pytest.raises(StudyError, match=words):
        natural_gradient_descent(model, data, **({"learning_rate": 0.5, "steps": 1} | settings))


def test_targets_of_another_shape_are_refused(generator):
    model, data, _ = small(generator)
    wrong = ng.Dataset(data.x, data.y.expand(-1, 2).contiguous())
    for solver in ("cholesky", "conjugate_gradients"):
        with pytest.raises(ModelError, match=r"outputs have shape \(8, 1\), the targets \(8, 2\)"):
            natural_gradient_descent(model, wrong, learning_rate=0.5, steps=1, damping=0.1, solver=solver)


@pytest.mark.parametrize(
    "settings", [{"damping": -1.0}, {"damping": float("nan")}, {"learning_rate": 0}, {"steps": 1.5}]
)
def test_bad_settings_are_named(settings, generator):
    data, _ = ng.load_data("sphere", 4, 1, dim=3)
    with pytest.raises(StudyError, match=next(iter(settings))):
        natural_gradient_descent(nn.Linear(3, 1), data, **({"learning_rate": 0.5, "steps": 1} | settings))
