import copy
import time

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from ntkgap.practice import train
from ntkgap.practice.training.curves import Stopwatch
from ntkgap.practice.training.losses import squared_loss
from tests.tolerances import EXACT, ITERATED, SINGLE


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


def test_cross_entropy_descends_its_formula(setting):
    model, data = setting
    by_hand = copy.deepcopy(model)
    curve = train(model, data, learning_rate=1e-2, steps=3, loss="cross_entropy")
    losses = []
    for _ in range(4):
        f = by_hand(data.x)
        loss = (torch.logsumexp(f, dim=1) - (f * data.y).sum(dim=1)).sum()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for p, g in zip(by_hand.parameters(), gradients, strict=True):
                p -= 1e-2 * g
    assert curve.losses == pytest.approx(losses, rel=EXACT)
    assert curve.losses[-1] < curve.losses[0]


def test_training_does_not_notice_a_test_set(generator):
    """Dropout would draw other masks and batch normalization count another batch if it went through them."""
    data, test = ng.load_data("digits", 12, 7)
    model = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 10))
    other = copy.deepcopy(model)
    settings = {"learning_rate": 1e-3, "steps": 5, "optimizer": "adam", "batch_size": 4}
    curves = []
    for network, seen in ((model, None), (other, test)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            curves.append(train(network, data, test=seen, **settings))
    assert curves[0].losses == curves[1].losses
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), other.buffers(), strict=True))
    assert all(module.training for module in other.modules())
    assert curves[0].test_losses == []
    assert len(curves[1].test_losses) == 6
    other.eval()
    assert curves[1].test_losses[-1] == pytest.approx(squared_loss(other(test.x), test.y).item(), rel=SINGLE)


@pytest.mark.parametrize("batch_size", [12, 5])
def test_seconds_count_updates_and_nothing_else(setting, batch_size):
    model, data = setting
    begin = time.perf_counter()
    curve = train(
        model,
        data,
        learning_rate=1e-3,
        steps=4,
        optimizer="sgd",
        batch_size=batch_size,
        test=data,
        observe=lambda _: time.sleep(0.02),
    )
    whole = time.perf_counter() - begin
    assert len(curve.seconds) == len(curve.losses) == 5
    assert curve.seconds[0] == 0
    assert all(b > a for a, b in zip(curve.seconds, curve.seconds[1:], strict=False))
    assert curve.seconds[-1] <= whole - 5 * 0.02


def test_one_thread_is_timed_by_its_own_work(monkeypatch):
    """What else the machine does is no part of it."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    clock = Stopwatch(torch.device("cpu"))
    with clock:
        time.sleep(0.05)
    assert clock.seconds < 0.04
    until = time.thread_time() + 0.05
    with clock:
        while time.thread_time() < until:
            pass
    assert clock.seconds >= 0.04


def test_the_stopwatch_measures_what_is_inside_of_it(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    clock = Stopwatch(torch.device("cpu"))
    for _ in range(2):
        with clock:
            time.sleep(0.02)
        time.sleep(0.03)
    assert clock.seconds >= 0.04
    first = clock.seconds
    with clock:
        pass
    assert clock.seconds - first < 0.03


def test_curves_of_the_same_run_are_equal_but_for_the_seconds(setting):
    model, data = setting
    one, two = (train(copy.deepcopy(model), data, learning_rate=1e-3, steps=2, test=data) for _ in range(2))
    two.seconds[-1] += 1
    assert one == two
    two.test_losses[-1] += 1
    assert one != two


def test_one_output_may_come_without_an_axis_but_nothing_is_broadcast(generator):
    data = ng.Dataset(*(torch.randn(6, k, dtype=torch.float64, generator=generator) for k in (3, 1)))
    model = nn.Linear(3, 1).double()
    flat = nn.Sequential(copy.deepcopy(model), nn.Flatten(0))
    expected = train(model, data, learning_rate=0.01, steps=3)
    assert train(flat, data, learning_rate=0.01, steps=3) == expected
    with pytest.raises(ModelError, match=r"outputs have shape \(6, 2\), the targets \(6, 1\)"):
        train(nn.Linear(3, 2).double(), data, learning_rate=0.01, steps=3)


def test_cross_entropy_needs_probabilities():
    data, _ = ng.load_data("digits", 12, 5, targets="plus_minus")
    with pytest.raises(StudyError, match=r"targets='one_hot' or use loss='squared'"):
        train(nn.Linear(64, 10), data, learning_rate=0.1, steps=1, loss="cross_entropy")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"steps": -1}, "steps must be"),
        ({"optimizer": "lbfgs"}, "unknown optimizer 'lbfgs'"),
        ({"batch_size": 13, "optimizer": "sgd"}, "batch_size must be between 1 and the 12"),
        ({"loss": "hinge"}, "unknown loss 'hinge'; choose one of squared, cross_entropy"),
        ({"momentum": 1.0, "optimizer": "sgd"}, "momentum must be at least 0 and below 1"),
        ({"batch_size": 3}, "optimizer='gd' uses all examples"),
    ],
)
def test_bad_settings_are_named(setting, settings, words):
    model, data = setting
    with pytest.raises(StudyError, match=words):
        train(model, data, **({"learning_rate": 0.1, "steps": 1} | settings))
