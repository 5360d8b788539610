"""Training as people do it: any optimizer, loss, schedule; against loops written by hand, and what is refused."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from tests.tolerances import EXACT, ITERATED

N, FEATURES, CLASSES = 22, 5, 3


def data(seed=0, n=N):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, FEATURES, generator=g, dtype=torch.float64)
    return ng.Dataset(x, torch.eye(CLASSES, dtype=torch.float64)[torch.arange(n) % CLASSES], CLASSES)


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FEATURES, 7), nn.Tanh(), nn.Linear(7, CLASSES)).double()


def practical(seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(FEATURES, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, CLASSES)
    return nn.Sequential(*layers).double()


def order(batch_size, seed=0):
    """Batches of a DataLoader with its last one, in the order of a generator."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(N, generator=generator).split(batch_size)


def same(one, two, tolerance=EXACT):
    for (name, a), (_, b) in zip(one.state_dict().items(), two.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=name)


def by_hand(model, examples, make, steps, *, batch_size=N, loss=None, factor=None, clip=None, scheduler=None):
    """The loop that everybody writes; losses are those in evaluation mode."""
    loss = loss or nn.CrossEntropyLoss()
    optimizer = make(model.parameters())
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = scheduler(optimizer) if scheduler else None
    batches, recorded = order(batch_size), []

    def record():
        model.eval()
        with torch.no_grad():
            recorded.append(loss(model(examples.x), examples.y).item())
        model.train()

    for step in range(steps):
        record()
        batch = next(batches)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            if factor:
                group["lr"] = rate * factor(step)
        optimizer.zero_grad()
        loss(model(examples.x[batch]), examples.y[batch]).backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if schedule:
            schedule.step()
    record()
    return recorded


def test_training_of_practice_is_the_loop_that_everybody_writes():
    """Batch normalization, momentum, mean cross-entropy, schedule, decay, clipping and partial batches at once."""
    ours, theirs, examples = practical(), practical(), data()

    def factor(step):
        return 0.5 ** (step / 10)

    curve = ng.train(
        ours,
        examples,
        learning_rate=0.2,
        steps=23,
        optimizer="sgd",
        momentum=0.8,
        batch_size=5,
        loss=nn.CrossEntropyLoss(),
        schedule=factor,
        weight_decay=0.01,
        clip=0.4,
    )

    def make(parameters):
        return torch.optim.SGD(parameters, lr=0.2, momentum=0.8, weight_decay=0.01)

    losses = by_hand(theirs, examples, make, 23, batch_size=5, factor=factor, clip=0.4)
    same(ours, theirs)
    assert curve.losses == pytest.approx(losses, rel=EXACT)
    assert ours[1].num_batches_tracked == 23
    assert all(module.training for module in ours.modules())
    # Each setting matters here: without it the numbers are others.
    for without in ({"factor": None}, {"clip": None}, {"batch_size": 4}):
        settings = {"batch_size": 5, "factor": factor, "clip": 0.4, **without}
        assert abs(by_hand(practical(), examples, make, 23, **settings)[-1] - losses[-1]) > 1e-4


@pytest.mark.parametrize(
    "optimizer",
    [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.LBFGS],
    ids=lambda o: o.__name__,
)
def test_classes_of_torch(optimizer):
    ours, theirs, examples = mlp(), mlp(), data()
    loss = nn.CrossEntropyLoss()
    curve = ng.train(ours, examples, learning_rate=0.05, steps=6, optimizer=optimizer, loss=loss)
    made = optimizer(theirs.parameters(), lr=0.05)
    losses = []

    def closure():
        made.zero_grad()
        found = loss(theirs(examples.x), examples.y)
        found.backward()
        return found

    for _ in range(6):
        losses.append(loss(theirs(examples.x), examples.y).item())
        made.step(closure)
    same(ours, theirs)
    assert curve.losses[:-1] == pytest.approx(losses, rel=EXACT)


def test_a_function_is_given_parameters_or_groups_with_the_rates_of_their_layers():
    seen = []

    def make(given):
        seen.append([dict(entry) if isinstance(entry, dict) else entry for entry in given])
        return torch.optim.SGD(given, lr=0.1)

    alone, ruled, named, examples = mlp(), mlp(), mlp(), data()
    ng.train(alone, examples, steps=3, optimizer=make)
    assert all(isinstance(p, nn.Parameter) for p in seen[0])
    ng.train(ruled, examples, steps=3, optimizer=make, learning_rate=0.1)
    assert [sorted(group) for group in seen[1]] == [["lr", "params"]]
    ng.train(named, examples, steps=3, learning_rate=0.1)
    same(alone, named)
    same(ruled, named)
    # Mean-field layers want their own rates, of a linear rule and of an adaptive one.
    for function, name in ((torch.optim.SGD, "gd"), (torch.optim.Adam, "adam")):
        networks = [
            ng.MLP(FEATURES, CLASSES, 6, 2, "tanh", "mean_field", generator=g()).double() for g in [gen] * 3
        ]
        for network, optimizer in zip(
            networks, (name, function, lambda groups, f=function: f(groups)), strict=True
        ):
            ng.train(network, examples, learning_rate=0.01, steps=3, optimizer=optimizer)
        same(networks[0], networks[1])
        same(networks[0], networks[2])


def gen():
    return torch.Generator().manual_seed(3)


def test_schedulers_of_torch_and_functions_of_the_step():
    examples = data()
    made = lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.3)  # noqa: E731
    ours, theirs, stepped = mlp(), mlp(), mlp()
    settings = {"learning_rate": 0.1, "steps": 7, "optimizer": "sgd", "loss": nn.CrossEntropyLoss()}
    ng.train(ours, examples, schedule=made, **settings)
    by_hand(theirs, examples, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 7, scheduler=made)
    ng.train(stepped, examples, schedule=lambda step: 0.3 ** (step // 2), **settings)
    same(ours, theirs)
    same(stepped, theirs)


def test_a_plateau_is_told_the_recorded_loss():
    made = []

    def schedule(optimizer):
        made.append(torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.0))
        return made[0]

    curve = ng.train(mlp(), data(), learning_rate=0.1, steps=5, schedule=schedule)
    assert made[0].best == min(curve.losses[:-1])
    assert made[0].last_epoch == 5


@pytest.mark.parametrize("build", [mlp, practical], ids=["plain", "batch statistics"])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "gd"},
        {"optimizer": "sgd", "batch_size": 5, "schedule": lambda step: 1 / (1 + step)},
        {"optimizer": "adam", "batch_size": 4},
        {"optimizer": torch.optim.AdamW, "batch_size": 8, "weight_decay": 0.1},
        {"optimizer": "sgd", "schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5)},
    ],
    ids=["gd", "sgd", "adam", "adamw", "scheduler"],
)
def test_resumed_is_one_run(build, settings, tmp_path):
    whole, parts, examples = build(), build(), data()
    common = {"learning_rate": 0.02, **settings}
    one = ng.train(whole, examples, steps=11, **common)
    state = {}
    first = ng.train(parts, examples, steps=4, state=state, **common)
    torch.save(state, tmp_path / "state.pt")
    second = ng.train(parts, examples, steps=7, state=torch.load(tmp_path / "state.pt"), **common)
    same(whole, parts)
    assert first.losses[:-1] + second.losses == pytest.approx(one.losses, rel=EXACT)
    changed = build()
    ng.train(changed, examples, steps=4, **common)
    ng.train(changed, examples, steps=7, **common)
    if settings["optimizer"] != "gd":  # gradient descent has nothing to remember
        assert any(not torch.equal(a, b) for a, b in zip(whole.parameters(), changed.parameters(), strict=True))


def test_a_state_is_not_changed_by_going_on_from_it():
    network, examples, state = mlp(), data(), {}
    settings = {"learning_rate": 0.02, "optimizer": "adam", "batch_size": 5}
    ng.train(network, examples, steps=3, state=state, **settings)
    kept = copy.deepcopy(state)
    ng.train(copy.deepcopy(network), examples, steps=3, state=dict(state), **settings)
    torch.testing.assert_close(state["optimizer"], kept["optimizer"])
    for other in ({"batch_size": 6}, {"batch_size": 5, "keep_last": False}):
        with pytest.raises(StudyError, match="state is of other batches"):
            ng.train(network, examples, steps=3, state=dict(state), **settings | other)


def test_partial_batches_are_kept_or_left_out():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.sizes = mlp(), []

        def forward(self, x):
            if torch.is_grad_enabled():
                self.sizes.append(len(x))
            return self.inner(x)

    for keep, expected in ((True, [8, 8, 6, 8]), (False, [8, 8, 8, 8])):
        network = Counting()
        settings = {"learning_rate": 0.01, "optimizer": "sgd", "batch_size": 8, "keep_last": keep}
        ng.train(network, data(), steps=4, **settings)
        assert network.sizes == expected
    # Where batches fill a pass the two are one.
    even, other = mlp(), mlp()
    for network, keep in ((even, True), (other, False)):
        ng.train(network, data(), learning_rate=0.01, steps=5, optimizer="sgd", batch_size=11, keep_last=keep)
    same(even, other, 0.0)


def test_a_mean_of_squares_is_the_summed_loss_at_another_rate():
    examples = data()
    summed, mean, function = mlp(), mlp(), mlp()
    ng.train(summed, examples, learning_rate=0.01, steps=5)
    ng.train(mean, examples, learning_rate=0.01 * N * CLASSES / 2, steps=5, loss=nn.MSELoss())
    curve = ng.train(function, examples, learning_rate=0.01, steps=5, loss=lambda f, y: (f - y).square().sum() / 2)
    same(summed, mean, ITERATED)
    same(summed, function)
    assert curve.losses == pytest.approx(ng.train(mlp(), examples, learning_rate=0.01, steps=5).losses, rel=EXACT)


def test_a_loss_may_ask_for_other_outputs_and_begin_below_zero():
    torch.manual_seed(0)
    network = nn.Linear(FEATURES, 2 * CLASSES).double()

    def likelihood(f, y):
        mean, log = f.chunk(2, dim=1)
        return (log + (y - mean).square() * torch.exp(-2 * log) / 2).mean() - 50.0

    curve = ng.train(network, data(), learning_rate=0.05, steps=40, loss=likelihood)
    assert curve.stopped is None
    assert curve.losses[0] < 0
    assert curve.losses[-1] < curve.losses[0] - 0.1


def test_one_output_without_an_axis_is_not_broadcast_by_a_loss_of_ones_own():
    examples = ng.Dataset(data().x, data().y[:, :1])
    torch.manual_seed(0)
    column = nn.Linear(FEATURES, 1).double()
    flat = nn.Sequential(copy.deepcopy(column), nn.Flatten(0))
    settings = {"learning_rate": 0.1, "steps": 3, "loss": nn.MSELoss()}
    assert ng.train(flat, examples, **settings) == ng.train(column, examples, **settings)


def test_a_training_function_of_ones_own():
    seen = []

    def fit(model, examples, seed):
        seen.append((seed, model.training, random.random(), np.random.rand(), float(torch.rand(()))))  # noqa: NPY002
        ng.train(model, examples, learning_rate=0.05, steps=30)
        model.eval()

    network, examples = mlp(), data()
    network[0].train()
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    observed = []
    curve = ng.train(
        network, examples, fit=fit, generator=torch.Generator().manual_seed(7), observe=observed.append
    )
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    assert all(module.training for module in network.modules())
    assert all(p.grad is None for p in network.parameters())
    other = mlp()
    expected = ng.train(other, examples, learning_rate=0.05, steps=30).losses
    assert curve.losses == pytest.approx([expected[0], expected[-1]], rel=EXACT)
    assert observed == [0, 1]
    assert len(curve.seconds) == 2
    ng.train(mlp(), examples, fit=fit, generator=torch.Generator().manual_seed(7))
    assert seen[0] == seen[1]
    assert seen[0][0] == 7


def test_a_training_function_that_fails_is_named():
    def raises(model, examples, seed):
        torch.manual_seed(99)
        raise KeyError("no such column")

    def spoils(model, examples, seed):
        with torch.no_grad():
            model[0].weight[0, 0] = torch.nan

    before = torch.get_rng_state()
    with pytest.raises(StudyError, match=r"fit=raises raised KeyError: 'no such column'"):
        ng.train(mlp(), data(), fit=raises)
    assert torch.equal(torch.get_rng_state(), before)
    assert ng.train(mlp(), data(), fit=spoils).stopped == "diverged at step 1"
    with pytest.raises(StudyError, match="returned another network"):
        ng.train(mlp(), data(), fit=lambda model, *_: copy.deepcopy(model))
    with pytest.raises(StudyError, match="would not see steps, learning_rate"):
        ng.train(mlp(), data(), fit=spoils, steps=3, learning_rate=0.1)
    with pytest.raises(StudyError, match="fit must be a function"):
        ng.train(mlp(), data(), fit="fit")


class Broken(torch.optim.SGD):
    def step(self):
        raise RuntimeError("no kernel for this")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer": lambda ps: torch.optim.SGD(list(ps)[:1], lr=0.1)}, r"ignores parameters .*: 0\.bias, 2\.w"),
        ({"optimizer": lambda ps: torch.optim.SGD([*ps, nn.Parameter(torch.ones(1))], lr=0.1)}, "moves 1 tensors"),
        ({"optimizer": lambda ps: None}, r"returned NoneType, no torch\.optim\.Optimizer"),
        ({"optimizer": lambda ps: 1 / 0}, "failed on a list of parameters: division by zero"),
        (
            {"optimizer": lambda ps: torch.optim.SGD([p for p in ps if p.ndim > 1]), "learning_rate": 0.1},
            "without learning_rate= it is given the bare parameters",
        ),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)}, "is made already"),
        ({"optimizer": 3}, "must be a name, a class or a function"),
        ({"optimizer": "lbfgs"}, "unknown optimizer 'lbfgs'"),
        ({"optimizer": torch.optim.Adam}, "got None, but optimizer=Adam needs it"),
        ({"optimizer": "gd"}, "got None, but optimizer='gd' needs it"),
        ({"optimizer": torch.optim.LBFGS, "learning_rate": 0.1, "weight_decay": 0.1}, "optimizer=LBFGS failed"),
        (
            {"optimizer": torch.optim.SGD, "weight_decay": -1.0, "learning_rate": 0.1},
            "weight_decay must be finite",
        ),
        ({"optimizer": lambda ps: torch.optim.SGD(ps), "weight_decay": 0.1}, "would not reach"),
        ({"optimizer": Broken, "learning_rate": 0.1}, "optimizer=Broken failed at step 0: no kernel"),
        ({"learning_rate": 0.1, "clip": 0.0}, "clip must be positive"),
        ({"learning_rate": 0.1, "clip": float("nan")}, "clip must be positive"),
        (
            {"learning_rate": 0.1, "loss": lambda f, y: (f - y).square()},
            "tensor of shape .22, 3., but a loss is one",
        ),
        ({"learning_rate": 0.1, "loss": lambda f, y: 1.0}, r"returned 1\.0, but"),
        ({"learning_rate": 0.1, "loss": lambda f, y: (f - y).detach().sum()}, "has no gradient"),
        ({"learning_rate": 0.1, "loss": nn.NLLLoss()}, r"NLLLoss failed on outputs .*targets\.argmax"),
        ({"learning_rate": 0.1, "loss": nn.Linear(3, 3)}, "has parameters of its own"),
        ({"learning_rate": 0.1, "loss": nn.MSELoss}, "unknown loss"),
        ({"learning_rate": 0.1, "schedule": lambda step: -1.0}, "gives -1.0 at step 0"),
        ({"learning_rate": 0.1, "schedule": lambda step: float("nan")}, "gives nan at step 0"),
        ({"learning_rate": 0.1, "schedule": lambda step: 1.0 - step}, "gives -1.0 at step 2"),
        ({"learning_rate": 0.1, "schedule": lambda step: "slow"}, "returned 'slow'"),
        ({"learning_rate": 0.1, "schedule": lambda step: step.no_such}, "took neither a step"),
        ({"learning_rate": 0.1, "schedule": 0.5}, "schedule must be a function"),
        ({"learning_rate": 0.1, "state": {"optimizer": {}}}, "state does not go with"),
        ({"learning_rate": 0.1, "steps": None}, "steps must be an integer of at least 0, got None"),
        ({"learning_rate": 0.1, "batch_size": 2.5, "optimizer": "sgd"}, "batch_size must be between"),
    ],
)
def test_what_cannot_be_trained_by_is_refused(settings, words):
    network = mlp()
    with pytest.raises(StudyError, match=words):
        ng.train(network, data(), **{"steps": 4, **settings})


def test_what_is_refused_before_the_first_step_leaves_the_network_alone():
    network, before = mlp(), mlp()
    with pytest.raises(StudyError):
        ng.train(network, data(), steps=4, optimizer=lambda ps: torch.optim.SGD(list(ps)[:2], lr=0.1))
    with pytest.raises(StudyError):
        ng.train(network, data(), steps=4, learning_rate=0.1, loss=lambda f, y: f.detach().sum())
    same(network, before, 0.0)


def test_a_frozen_network_has_nothing_to_train():
    with pytest.raises(ModelError, match="no parameters that require grad"):
        ng.train(mlp().requires_grad_(False), data(), learning_rate=0.1, steps=2)
    backbone = mlp()
    backbone[0].requires_grad_(False)
    start = backbone[0].weight.clone()
    ng.train(backbone, data(), learning_rate=0.1, steps=2, optimizer=torch.optim.AdamW, weight_decay=0.5)
    assert torch.equal(backbone[0].weight, start)


def test_losses_that_become_nan_end_the_training():
    curve = ng.train(mlp(), data(), learning_rate=0.1, steps=9, loss=lambda f, y: (f - y).mean() * torch.nan)
    assert curve.stopped == "diverged at step 0"


def test_an_ensemble_trains_as_its_members_alone():
    examples, inputs = data(), data(1, 4).x
    settings = {
        "learning_rate": 0.05,
        "steps": 9,
        "optimizer": torch.optim.AdamW,
        "batch_size": 5,
        "loss": nn.CrossEntropyLoss(),
        "schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5),
        "weight_decay": 0.1,
        "clip": 0.5,
    }
    for build in (mlp, practical):
        found = ng.train_ensemble(
            build, examples, 3, inputs=inputs, seeds=[5, 6, 7], observe_at=[0, 9], **settings
        )
        for i in range(3):
            alone = build(i)
            curve = ng.train(alone, examples, generator=torch.Generator().manual_seed(5 + i), **settings)
            alone.eval()
            torch.testing.assert_close(found.outputs[i, -1], alone(inputs).detach(), rtol=ITERATED, atol=ITERATED)
            assert found.losses[i].tolist() == pytest.approx([curve.losses[0], curve.losses[-1]], rel=ITERATED)
    with pytest.raises(StudyError, match="LBFGS evaluates the loss several times a step"):
        ng.train_ensemble(mlp, examples, 2, inputs=inputs, learning_rate=0.1, steps=1, optimizer=torch.optim.LBFGS)


def test_an_ensemble_by_a_training_function():
    examples, inputs = data(), data(1, 4).x

    def fit(model, given, seed):
        ng.train(model, given, learning_rate=0.05, steps=seed)

    found = ng.train_ensemble(practical, examples, 2, inputs=inputs, fit=fit, seeds=[3, 8], observe_at=[0, 1])
    for i, steps in enumerate((3, 8)):
        alone = practical(i)
        ng.train(alone, examples, learning_rate=0.05, steps=steps)
        torch.testing.assert_close(found.outputs[i, 1], alone.eval()(inputs).detach(), rtol=EXACT, atol=EXACT)
    with pytest.raises(StudyError, match="would not see steps"):
        ng.train_ensemble(mlp, examples, 2, inputs=inputs, fit=fit, steps=3)


def test_coordinates_are_checked_under_any_training():
    def build(width):
        return nn.Sequential(
            nn.Linear(FEATURES, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, CLASSES)
        )

    examples = data().to(torch.float32)
    state = torch.get_rng_state()
    found = ng.practice.coordinate_check(
        build,
        examples,
        [8, 32],
        steps=2,
        learning_rate=0.01,
        seeds=(0, 1),
        optimizer=torch.optim.AdamW,
        batch_size=5,
        loss=nn.CrossEntropyLoss(),
        weight_decay=0.1,
    )
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build(32)
    before = network.eval()(examples.x).detach()
    network.train()
    ng.train(
        network,
        examples,
        steps=2,
        learning_rate=0.01,
        optimizer=torch.optim.AdamW,
        batch_size=5,
        loss=nn.CrossEntropyLoss(),
        weight_decay=0.1,
        generator=torch.Generator().manual_seed(1),
    )
    moved = (network.eval()(examples.x).detach() - before).double().square().mean().sqrt()
    assert found.change["output"][1, 1] == pytest.approx(float(moved), rel=1e-6)
