"""Tasks learned with any optimizer, loss and training function; and examples that are remembered."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.practice.continual.lessons import Lesson
from tests.practice.continual.made import FEATURES, OUTPUTS, mlp, stream, trained
from tests.tolerances import EXACT, ITERATED

SETTINGS = pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": torch.optim.AdamW, "weight_decay": 0.1},
        {"optimizer": torch.optim.SGD, "loss": nn.CrossEntropyLoss(), "clip": 0.3},
        {"optimizer": "sgd", "schedule": lambda step: 1 / (1 + step), "weight_decay": 0.01},
        {"optimizer": "sgd", "schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5)},
        {"optimizer": lambda groups: torch.optim.SGD(groups, nesterov=True, momentum=0.5), "batch_size": 2},
        {"optimizer": "adam", "loss": lambda f, y: (f - y).abs().mean()},
    ],
    ids=["adamw", "clip", "schedule", "scheduler", "function", "loss"],
)


@SETTINGS
def test_every_task_is_learned_as_by_train(settings):
    """Scheduler, optimizer and batches begin anew with every task; the order of examples goes on."""
    network, tasks, order = mlp(), stream(), torch.Generator().manual_seed(0)
    runs, seen = trained(network, tasks, steps=7, **settings)
    for t, task in enumerate(tasks.tasks):
        ng.train(network, task.train, learning_rate=0.02, steps=7, generator=order, **settings)
        for p, q in zip(seen.networks[t + 1].parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=ITERATED, atol=EXACT)
    assert not runs.diverged.any()


@SETTINGS
def test_networks_learn_together_what_they_learn_alone(settings):
    tasks, networks = [stream(seed) for seed in (3, 4)], [mlp(seed) for seed in (3, 4)]
    common = {"learning_rate": 0.01, "stop": ng.continual.UntilAccuracy(1.0, at_most=40, every=5), **settings}
    together = ng.continual.train_tasks(networks, tasks, seeds=[3, 4], **common)
    for i in range(2):
        alone = ng.continual.train_tasks([networks[i]], tasks[i], seeds=[3 + i], **common)
        assert together.steps[i].tolist() == alone.steps[0].tolist()
        torch.testing.assert_close(together.distance[i], alone.distance[0], rtol=ITERATED, atol=ITERATED)


def test_a_loss_of_ones_own_sees_the_outputs_of_the_task_alone():
    shapes = []

    def loss(f, y):
        shapes.append((f.shape, y.shape))
        return 0.5 * (f - y).square().sum()

    heads = stream(columns=[(0, 1), (2, 3), (4, 5)])
    own, _ = trained(mlp(outputs=6), heads, steps=5, loss=loss)
    named, _ = trained(mlp(outputs=6), heads, steps=5)
    assert {shape for pair in shapes for shape in pair} == {(5, 2)}
    torch.testing.assert_close(own.distance, named.distance, rtol=EXACT, atol=0)
    with pytest.raises(StudyError, match="no joint loss"):
        trained(mlp(outputs=6), heads, method=ng.continual.Joint(), loss=loss)


def test_a_mean_loss_with_ewc_has_the_fisher_information_of_its_name():
    tasks = stream()
    n = len(tasks.tasks[0].train)
    mean, _ = trained(
        mlp(),
        tasks,
        ng.continual.EWC(0.3 / n),
        steps=20,
        loss=nn.CrossEntropyLoss(),
        learning_rate=0.02 * n,
        seeds=[0],
    )
    summed, _ = trained(mlp(), tasks, ng.continual.EWC(0.3), steps=20, loss="cross_entropy", learning_rate=0.02)
    torch.testing.assert_close(mean.distance, summed.distance, rtol=ITERATED, atol=0)


def test_orthogonal_gradients_refuse_adaptive_optimizers_and_hold_with_sgd_of_torch():
    torch.manual_seed(0)
    network, tasks = nn.Linear(FEATURES, OUTPUTS, bias=False, dtype=torch.float64), stream(tasks=2)
    _, seen = trained(network, tasks, ng.continual.OGD(), optimizer=torch.optim.SGD)
    x = tasks.tasks[0].train.x
    torch.testing.assert_close(seen.outputs(2, x), seen.outputs(1, x), rtol=ITERATED, atol=ITERATED)


def test_a_training_function_teaches_every_task():
    called = []

    def fit(network, data, seed):
        called.append((len(data), seed))
        ng.train(network, data, learning_rate=0.02, steps=9)

    tasks = stream()
    fitted = ng.continual.train_tasks([mlp(0), mlp(1)], tasks, fit=fit, seeds=[7, 8])
    assert called == [(5, 7), (5, 8)] * 3
    assert fitted.steps.tolist() == [[1, 1, 1]] * 2
    for i in range(2):
        alone = ng.continual.train_tasks([mlp(i)], tasks, learning_rate=0.02, stop=ng.continual.Steps(9))
        torch.testing.assert_close(fitted.distance[i], alone.distance[0], rtol=EXACT, atol=0)
        torch.testing.assert_close(fitted.scores[i], alone.scores[0], rtol=0, atol=0)
    called.clear()
    ng.continual.train_tasks([mlp()], tasks, fit=fit, method=ng.continual.Joint())
    assert called == [(15, 0)]

    def spoil(network, data, seed):
        with torch.no_grad():
            next(network.parameters()).fill_(torch.nan)

    assert ng.continual.train_tasks([mlp()], tasks, fit=spoil).diverged.tolist() == [True]
    with pytest.raises(StudyError, match="outputs of their own"):
        ng.continual.train_tasks([mlp(outputs=6)], stream(columns=[(0, 1), (2, 3), (4, 5)]), fit=fit)


def test_remembered_examples_are_drawn_at_random_and_balanced_over_classes():
    n, kept = 30, 7
    labels = torch.arange(n).div(10, rounding_mode="floor")  # sorted: ten of each of three classes
    lesson = Lesson(
        torch.arange(n, dtype=torch.float64).view(1, n, 1).expand(2, n, 1),
        torch.eye(3, dtype=torch.float64)[labels].expand(2, n, 3),
        torch.ones(n, 3, dtype=torch.bool),
        labels.expand(2, n),
    )
    drawn = [
        lesson.drawn(kept, [torch.Generator().manual_seed(s), torch.Generator().manual_seed(s + 100)])
        for s in range(300)
    ]
    chosen = torch.stack([d.x[..., 0].long() for d in drawn])  # [300, 2, kept]
    assert torch.equal(torch.stack([d.y for d in drawn]).argmax(-1), labels[chosen])
    assert all(len(set(row)) == kept for row in chosen.flatten(0, 1).tolist())
    counts = torch.nn.functional.one_hot(labels[chosen]).sum(2)
    assert counts.min() == 2
    assert counts.max() == 3
    # The class that has one more, and the examples, are as often these as those.
    extra = (counts == 3).double().flatten(0, 1).mean(0)
    assert ((extra - 1 / 3).abs() < 4 * (2 / 9 / 600) ** 0.5).all()
    often = torch.bincount(chosen.flatten(), minlength=n) / 600
    assert ((often - kept / n).abs() < 5 * (kept / n / 600) ** 0.5).all()
    assert not torch.equal(chosen[:, 0], chosen[:, 1])
    whole = lesson.drawn(99, [torch.Generator(), torch.Generator()])
    assert whole is lesson


def test_where_a_class_has_too_few_the_others_fill_up():
    labels = torch.tensor([0] * 9 + [1])
    lesson = Lesson(
        torch.zeros(1, 10, 1), torch.zeros(1, 10, 2), torch.ones(10, 2, dtype=torch.bool), labels[None]
    )
    for seed in range(20):
        drawn = Lesson(labels[None, :, None], lesson.y, lesson.mask, lesson.classes).drawn(
            4, [torch.Generator().manual_seed(seed)]
        )
        assert sorted(drawn.x.flatten().tolist()) == [0, 0, 0, 1]


@pytest.mark.parametrize("mixed", [False, True], ids=["sorted", "mixed"])
def test_orthogonal_gradients_store_examples_of_all_classes(mixed):
    """Outputs of a linear model stay at the stored examples, and move at others: that shows which they are."""
    labels, tasks = torch.arange(20).div(10, rounding_mode="floor"), []
    order = torch.randperm(20, generator=torch.Generator().manual_seed(5)) if mixed else torch.arange(20)
    for t in range(2):
        x = torch.randn(20, FEATURES, generator=torch.Generator().manual_seed(t), dtype=torch.float64)
        d = ng.Dataset(x[order], torch.eye(2, dtype=torch.float64)[labels[order]], 2)
        tasks.append((d, d))
    torch.manual_seed(0)
    network = nn.Linear(FEATURES, 2, bias=False, dtype=torch.float64)
    _, seen = trained(network, ng.continual.stream_of(tasks), ng.continual.OGD(examples=4))
    x = tasks[0][0].x
    moved = (seen.outputs(2, x) - seen.outputs(1, x)).norm(dim=1)
    stored = moved < 1e-9
    assert stored.sum() == 4
    assert labels[order][stored].bincount().tolist() == [2, 2]
    assert moved[~stored].min() > 1e-4


def test_replay_forgets_alike_with_sorted_and_mixed_tasks():
    train, test = ng.load_data("digits", n_train=300, n_test=300, seed=0)

    def task(classes, mixed):
        def pick(d):
            k = torch.cat([(d.y.argmax(1) == c).nonzero().flatten() for c in classes])
            k = k[torch.randperm(len(k), generator=torch.Generator().manual_seed(0))] if mixed else k
            return ng.Dataset(d.x[k], d.y[k], 10)

        return pick(train), pick(test)

    kept = []
    for mixed in (False, True):
        networks = []
        for seed in range(3):
            torch.manual_seed(seed)
            networks.append(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)))
        tasks = ng.continual.stream_of([task(range(5), mixed), task(range(5, 10), mixed)])
        runs = ng.continual.train_tasks(
            networks, tasks, learning_rate=1e-4, stop=ng.continual.Steps(300), method=ng.continual.Replay(20)
        )
        kept.append(float(runs.scores[:, 1, 0].mean()))
    assert abs(kept[0] - kept[1]) < 0.08
    assert min(kept) > 0.7  # one class of five would leave 0.2 to 0.4
