import copy

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.practice import train
from ntkgap.practice.losses import squared_loss
from tests.tolerances import EXACT, ITERATED


@pytest.fixture
def setting(generator):
    data, _ = ng.load_data("digits", 12, 5)
    model = ng.MLP(64, 10, 8, 1, "tanh", generator=generator).double()
    return model, data.to(torch.float64)


def test_gradient_descent_is_its_formula(setting):
    model, data = setting
    by_hand = copy.deepcopy(model)
    curve = train(model, data, learning_rate=1e-3, steps=3)
    for _ in range(3):
        gradients = torch.autograd.grad(squared_loss(by_hand(data.x), data.y), list(by_hand.parameters()))
        with torch.no_grad():
            for p, g in zip(by_hand.parameters(), gradients, strict=True):
                p -= 1e-3 * g
    for p, q in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=EXACT, atol=EXACT)
    assert curve.losses[-1] == pytest.approx(squared_loss(by_hand(data.x), data.y).item(), rel=EXACT)
    assert len(curve.losses) == 4
    assert curve.stopped is None


def test_momentum_with_full_batches_is_the_heavy_ball(generator):
    """On a linear model the heavy ball is r ← r − ηK r + μ (r − r_before)."""
    data = ng.Dataset(*(torch.randn(6, k, dtype=torch.float64, generator=generator) for k in (9, 1)))
    model = nn.Linear(9, 1, bias=False).double()
    gram = data.x @ data.x.T
    rate, r = 0.05, (model(data.x) - data.y).detach()
    before, expected = r, [0.5 * r.square().sum()]
    for _ in range(10):
        r, before = r - rate * gram @ r + 0.9 * (r - before), r
        expected.append(0.5 * r.square().sum())
    curve = train(model, data, learning_rate=rate, steps=10, optimizer="sgd", momentum=0.9)
    measured = torch.tensor(curve.losses, dtype=torch.float64)
    torch.testing.assert_close(measured, torch.stack(expected), rtol=ITERATED, atol=0)


def test_minibatch_gradients_estimate_the_full_one(generator):
    """With no momentum, the mean of one-step updates over all batches of an epoch is the full step."""
    data = ng.Dataset(*(torch.randn(8, k, dtype=torch.float64, generator=generator) for k in (3, 1)))
    model = nn.Linear(3, 1, bias=False).double()
    full = copy.deepcopy(model)
    train(full, data, learning_rate=1e-3, steps=1)
    updates = []
    for seed in range(400):
        small = copy.deepcopy(model)
        order = torch.Generator().manual_seed(seed)
        train(small, data, learning_rate=1e-3, steps=1, optimizer="sgd", momentum=0, batch_size=2, generator=order)
        updates.append(small.weight - model.weight)
    stacked = torch.cat(updates)
    error = stacked.std(dim=0) / 400**0.5
    assert ((stacked.mean(dim=0) - (full.weight - model.weight)[0]).abs() < 4 * error).all()


def test_adam_trains_and_is_reproducible(setting):
    model, data = setting
    curves = []
    for _ in range(2):
        network = copy.deepcopy(model)
        order = torch.Generator().manual_seed(5)
        curve = train(network, data, learning_rate=0.05, steps=60, optimizer="adam", batch_size=5, generator=order)
        curves.append(curve)
    assert curves[0].losses == curves[1].losses
    assert curves[0].losses[-1] < 0.2 * curves[0].losses[0]


def test_divergence_is_reported_not_raised(setting):
    model, data = setting
    curve = train(model, data, learning_rate=1e6, steps=50)
    assert curve.stopped is not None
    assert curve.stopped.startswith("diverged at step")
    assert len(curve.losses) < 51


def test_a_network_without_finite_outputs_has_diverged_at_once(setting):
    model, data = setting
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    assert train(model, data, learning_rate=0.1, steps=5).stopped == "diverged at step 0"


def test_observe_sees_every_step_before_its_update(setting):
    model, data = setting
    seen = []
    train(
        model,
        data,
        learning_rate=1e-3,
        steps=4,
        observe=lambda step: seen.append((step, model(data.x).sum().item())),
    )
    assert [step for step, _ in seen] == [0, 1, 2, 3, 4]
    assert len({value for _, value in seen}) == 5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"steps": -1}, "steps must be"),
        ({"optimizer": "lbfgs"}, "unknown optimizer 'lbfgs'"),
        ({"batch_size": 13, "optimizer": "sgd"}, "batch_size must be between 1 and the 12"),
        ({"batch_size": 3}, "optimizer='gd' uses all examples"),
    ],
)
def test_bad_settings_are_named(setting, settings, words):
    model, data = setting
    with pytest.raises(StudyError, match=words):
        train(model, data, **({"learning_rate": 0.1, "steps": 1} | settings))
