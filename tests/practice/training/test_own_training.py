"""Training as people do it: any optimizer, loss, schedule; against loops written by hand."""

import copy

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import StudyError
from tests.practice.training.own import CLASSES, FEATURES, N, data, mlp, practical, same
from tests.tolerances import EXACT, ITERATED


def order(batch_size, seed=0):
    """Batches of a DataLoader with its last one, in the order of a generator."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(N, generator=generator).split(batch_size)


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
