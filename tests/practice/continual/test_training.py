"""Networks on streams: the same numbers together as alone, what each method guarantees, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.data import Task, TaskStream
from ntkgap.errors import ModelError, StudyError
from ntkgap.practice.continual import Plain
from tests.tolerances import EXACT, ITERATED, SINGLE

FEATURES, OUTPUTS, N = 14, 2, 5


def stream(seed=0, tasks=3, n=N, columns=None, classes=True, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)

    def data(size, c):
        x = torch.randn(size, FEATURES, generator=g, dtype=dtype)
        if not classes:
            return ng.Dataset(x, torch.randn(size, c, generator=g, dtype=dtype))
        labels = torch.arange(size) % c
        return ng.Dataset(x, torch.eye(c, dtype=dtype)[labels], c)

    places = [tuple(range(OUTPUTS))] * tasks if columns is None else columns
    return TaskStream(
        "made", tuple(Task(f"task {t}", data(n, len(c)), data(8, len(c)), c) for t, c in enumerate(places))
    )


def mlp(seed=0, outputs=OUTPUTS, dtype=torch.float64, **settings):
    g = torch.Generator().manual_seed(seed)
    return ng.MLP(FEATURES, outputs, width=9, depth=1, nonlinearity="gelu", generator=g, **settings).to(dtype)


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(FEATURES, OUTPUTS, bias=False, dtype=torch.float64)


class Keeper:
    """Remembers a copy of network 0 at every switch."""

    def __init__(self):
        self.networks = []

    def __call__(self, phase, network):
        assert phase == len(self.networks)
        self.networks.append(network(0))

    def outputs(self, phase, x):
        with torch.no_grad():
            return self.networks[phase](x)


def trained(network, tasks, method=None, steps=60, learning_rate=0.02, **settings):
    seen = Keeper()
    runs = ng.train_tasks(
        [network],
        tasks,
        learning_rate=learning_rate,
        stop=ng.Steps(steps),
        method=method,
        observe=seen,
        **settings,
    )
    return runs, seen


def test_plain_descent_of_a_linear_model_is_the_formula():
    tasks, network = stream(), linear()
    rates = [0.01, 0.02, 0.03]
    _, seen = trained(network, tasks, steps=7, learning_rate=rates)
    w = network.weight.detach().clone()
    for t, task in enumerate(tasks.tasks):
        for _ in range(7):
            w = w - rates[t] * (task.train.x @ w.T - task.train.y).T @ task.train.x
        torch.testing.assert_close(seen.networks[t + 1].weight.detach(), w, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(seen.networks[0].weight, network.weight)  # what was given is left alone


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "batch_size": 2},
        {"optimizer": "adam", "loss": "cross_entropy", "batch_size": 3},
        {"method": ng.OGD()},
        {"method": ng.PCAOGD(components=3)},
        {"method": ng.EWC(0.3)},
        {"method": ng.EWC(0.3, online=True)},
        {"method": ng.Replay(2)},
        {"method": ng.Joint()},
    ],
    ids=lambda s: str(next(iter(s.values()), "plain")),
)
def test_networks_learn_together_what_they_learn_alone(settings):
    tasks = [stream(seed) for seed in (3, 4)]
    networks = [mlp(seed) for seed in (3, 4)]
    common = {"learning_rate": 0.01, "stop": ng.Steps(12), "curve_points": 2, **settings}
    together = ng.train_tasks(networks, tasks, seeds=[3, 4], **common)
    for i in range(2):
        alone = ng.train_tasks([networks[i]], tasks[i], seeds=[3 + i], **common)
        for name in ("scores", "train_scores", "train_losses", "moved", "distance", "curves", "initial"):
            torch.testing.assert_close(
                getattr(together, name)[i], getattr(alone, name)[0], rtol=ITERATED, atol=ITERATED, msg=name
            )


def test_scores_distances_and_losses_are_what_they_say():
    tasks = stream()
    runs, seen = trained(mlp(), tasks, steps=20, curve_points=3)
    for phase in range(4):
        for s, task in enumerate(tasks.tasks):
            answers = seen.outputs(phase, task.test.x).argmax(dim=1)
            accuracy = (answers == task.test.y.argmax(dim=1)).double().mean()
            found = runs.initial[0, s] if phase == 0 else runs.scores[0, phase - 1, s]
            assert found == accuracy
    flat = [torch.cat([p.detach().flatten() for p in network.parameters()]) for network in seen.networks]
    for t in range(3):
        assert runs.moved[0, t] == pytest.approx(float((flat[t + 1] - flat[t]).norm()), rel=EXACT)
        assert runs.distance[0, t] == pytest.approx(float((flat[t + 1] - flat[0]).norm()), rel=EXACT)
        task = tasks.tasks[t]
        left = 0.5 * (seen.outputs(t + 1, task.train.x) - task.train.y).square().sum()
        assert runs.train_losses[0, t] == pytest.approx(float(left), rel=EXACT)
        start = 0.5 * (seen.outputs(0, task.train.x) - task.train.y).square().sum()
        assert runs.initial_losses[0, t] == pytest.approx(float(start), rel=EXACT)
    assert runs.steps.tolist() == [[20, 20, 20]]
    assert runs.curve_steps.tolist() == [3, 7, 20, 23, 27, 40, 43, 47, 60]
    torch.testing.assert_close(runs.curves[0, [2, 5, 8]], runs.scores[0])


@pytest.mark.parametrize("optimizer", ["gd", "sgd"])
@pytest.mark.parametrize("make", [linear, lambda: ng.linearize(mlp())], ids=["linear", "linearised"])
def test_orthogonal_gradients_leave_a_linear_models_old_outputs_alone(make, optimizer):
    tasks = stream(classes=False)
    _, seen = trained(make(), tasks, ng.OGD(), steps=40, optimizer=optimizer)
    for t, task in enumerate(tasks.tasks[:-1]):
        x = task.train.x
        for later in range(t + 2, 4):
            torch.testing.assert_close(
                seen.outputs(later, x), seen.outputs(t + 1, x), rtol=ITERATED, atol=ITERATED
            )
        _, plain = trained(make(), tasks, steps=40, optimizer=optimizer)
        assert (plain.outputs(3, x) - plain.outputs(t + 1, x)).abs().max() > 0.01  # without it they do change


def test_orthogonal_gradients_keep_outputs_where_layers_have_rates_of_their_own():
    tasks = stream(classes=False)
    for parametrization in ("mup", "mean_field"):
        network = ng.linearize(mlp(parametrization=parametrization))
        _, seen = trained(network, tasks, ng.OGD(), steps=20, learning_rate=1e-3)
        x = tasks.tasks[0].train.x
        torch.testing.assert_close(seen.outputs(3, x), seen.outputs(1, x), rtol=ITERATED, atol=ITERATED)
        assert (
            seen.outputs(3, tasks.tasks[2].train.x) - seen.outputs(2, tasks.tasks[2].train.x)
        ).abs().max() > 1e-4


def test_label_directions_keep_the_labels_output_and_only_that():
    tasks = stream()
    _, seen = trained(linear(), tasks, ng.OGD(directions="label"), steps=30)
    task = tasks.tasks[0].train
    kept, free = task.y.bool(), ~task.y.bool()
    before, after = seen.outputs(1, task.x), seen.outputs(3, task.x)
    torch.testing.assert_close(after[kept], before[kept], rtol=ITERATED, atol=ITERATED)
    assert (after - before)[free].abs().max() > 0.01


def test_stored_examples_alone_are_kept():
    tasks = stream(classes=False)
    _, seen = trained(linear(), tasks, ng.OGD(examples=2), steps=30)
    x = tasks.tasks[0].train.x
    moved = (seen.outputs(3, x) - seen.outputs(1, x)).abs().amax(dim=1)
    assert moved[:2].max() < ITERATED
    assert moved[2:].min() > 1e-3


def test_enough_principal_directions_are_all_directions_and_few_are_not():
    tasks = stream(classes=False)
    full, _ = trained(linear(), tasks, ng.OGD(), steps=30)
    every, _ = trained(linear(), tasks, ng.PCAOGD(components=N * OUTPUTS), steps=30)
    torch.testing.assert_close(every.scores, full.scores, rtol=ITERATED, atol=ITERATED)
    few, _ = trained(linear(), tasks, ng.PCAOGD(components=2), steps=30)
    assert (few.scores - full.scores).abs().max() > 1e-3


def test_elastic_weights_hold_and_let_go():
    tasks = stream(classes=False)
    plain, _ = trained(linear(), tasks)
    none, _ = trained(linear(), tasks, ng.EWC(0.0))
    torch.testing.assert_close(none.scores, plain.scores, rtol=EXACT, atol=EXACT)
    strong, _ = trained(linear(), tasks, ng.EWC(10_000.0), learning_rate=1e-5)
    weak, _ = trained(linear(), tasks, ng.EWC(0.01), learning_rate=1e-5)
    assert strong.moved[0, 1:].max() < 0.1 * weak.moved[0, 1:].min()


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_the_penalty_is_the_sum_over_tasks_with_the_fisher_information_of_each(online, loss):
    """One step of the third task, from gradients taken one by one."""
    tasks, network = stream(), mlp()
    strength, rate = 0.7, 0.01
    _, seen = trained(network, tasks, ng.EWC(strength, online), steps=1, learning_rate=rate, loss=loss)
    terms = []
    for t in (0, 1):
        there = seen.networks[t + 1]
        fisher = [torch.zeros_like(p) for p in there.parameters()]
        for x in tasks.tasks[t].train.x:
            out = there(x[None])[0]
            probabilities = out.softmax(dim=0).detach()
            for c in range(OUTPUTS):
                value, weight = (out[c], 1.0) if loss == "squared" else (out.log_softmax(0)[c], probabilities[c])
                for f, g in zip(
                    fisher, torch.autograd.grad(value, list(there.parameters()), retain_graph=True), strict=True
                ):
                    f += weight * g**2
        terms.append((fisher, [p.detach() for p in there.parameters()]))
    here = seen.networks[2]
    data = tasks.tasks[2].train
    out = here(data.x)
    own = 0.5 * (out - data.y).square().sum() if loss == "squared" else -(data.y * out.log_softmax(-1)).sum()
    gradients = torch.autograd.grad(own, list(here.parameters()))
    after = list(seen.networks[3].parameters())
    for i, (p, g) in enumerate(zip(here.parameters(), gradients, strict=True)):
        centres = [terms[1][1][i] if online else centre[i] for _, centre in terms]
        pull = sum(f[i] * (p.detach() - c) for (f, _), c in zip(terms, centres, strict=True))
        torch.testing.assert_close(
            after[i].detach(), p.detach() - rate * (g + strength * pull), rtol=ITERATED, atol=ITERATED
        )


def test_rehearsing_everything_is_learning_all_that_was_seen():
    tasks = stream()
    _, seen = trained(linear(), tasks, ng.Replay(N, weight=1.0), steps=15)
    w = seen.networks[2].weight.detach().clone()
    x, y = (torch.cat([getattr(t.train, name) for t in tasks.tasks]) for name in "xy")
    for _ in range(15):
        w = w - 0.02 * (x @ w.T - y).T @ x
    torch.testing.assert_close(seen.networks[3].weight.detach(), w, rtol=ITERATED, atol=ITERATED)
    few, _ = trained(linear(), tasks, ng.Replay(1), steps=15)
    one, _ = trained(linear(), tasks, ng.Replay(1, weight=float(N)), steps=15)
    torch.testing.assert_close(few.scores, one.scores)  # each stands for all of its task


def test_joint_training_knows_no_order():
    tasks = stream()
    turned = TaskStream("turned", tasks.tasks[::-1])
    runs, other = (trained(mlp(), s, ng.Joint(), steps=25)[0] for s in (tasks, turned))
    assert runs.scores.shape == (1, 1, 3)
    torch.testing.assert_close(other.distance, runs.distance, rtol=ITERATED, atol=ITERATED)
    torch.testing.assert_close(other.scores.flip(-1), runs.scores, rtol=ITERATED, atol=ITERATED)


def test_a_task_with_a_head_of_its_own_leaves_the_other_heads_alone():
    heads = [(0, 1), (2, 3), (4, 5)]
    tasks = stream(columns=heads)
    torch.manual_seed(0)
    network = nn.Linear(FEATURES, 6, dtype=torch.float64)
    for loss in ("squared", "cross_entropy"):
        for method in (Plain(), ng.Joint(), ng.Replay(2), ng.OGD(), ng.EWC(0.1)):
            runs, seen = trained(network, tasks, method, steps=10, loss=loss)
            assert torch.isfinite(runs.scores).all()
            if not isinstance(method, ng.Joint):
                rows = seen.networks[1].weight.detach()[2:]
                torch.testing.assert_close(rows, network.weight.detach()[2:], rtol=0, atol=0)


def test_a_network_that_diverges_stands_still_and_the_others_go_on():
    tasks = [stream(0), stream(1)]
    wild = linear(1)
    with torch.no_grad():
        wild.weight.mul_(1e160)
    runs = ng.train_tasks([linear(0), wild], tasks, learning_rate=0.02, stop=ng.Steps(30))
    assert runs.diverged.tolist() == [False, True]
    assert torch.isnan(runs.scores[1]).all()
    alone = ng.train_tasks([linear(0)], tasks[0], learning_rate=0.02, stop=ng.Steps(30))
    torch.testing.assert_close(runs.scores[0], alone.scores[0])
    hot, _ = trained(linear(), tasks[0], learning_rate=5.0, steps=300)
    assert bool(hot.diverged[0])


def test_training_ends_when_it_is_told_to():
    tasks = stream()

    def steps(stop, **settings):
        return ng.train_tasks([mlp()], tasks, learning_rate=0.02, stop=stop, **settings).steps[0].tolist()

    assert steps(ng.Steps([1, 2, 3])) == [1, 2, 3]
    assert steps(ng.Epochs(4)) == [4, 4, 4]
    assert steps(ng.Epochs(4), optimizer="sgd", batch_size=2) == [8, 8, 8]  # what fills no batch is left out
    assert steps(ng.KernelTime(0.3)) == [15, 15, 15]
    assert steps(ng.KernelTime(0.3), optimizer="sgd", momentum=0.8) == [3, 3, 3]
    assert steps(ng.KernelTime(0.3), momentum=0.8) == [15, 15, 15]  # "gd" has none
    found = steps(ng.UntilAccuracy(1.0, at_most=2000, every=5))
    assert all(n % 5 == 0 and 0 < n < 2000 for n in found)
    assert steps(ng.UntilAccuracy(1.0, at_most=3, every=5)) == [3, 3, 3]


def test_a_kernel_time_is_one_place_on_the_path_with_and_without_momentum():
    tasks, common = stream(classes=False), {"learning_rate": 1e-4, "stop": ng.KernelTime(0.05)}
    plain = ng.train_tasks([linear()], tasks, **common)
    heavy = ng.train_tasks([linear()], tasks, optimizer="sgd", momentum=0.5, **common)
    torch.testing.assert_close(heavy.distance, plain.distance, rtol=0.01, atol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "momentum": 0.0, "batch_size": 2},
        {"optimizer": "sgd", "momentum": 0.6, "batch_size": 3},
        {"optimizer": "adam", "batch_size": 2},
    ],
    ids=["gd", "sgd", "momentum", "adam"],
)
def test_networks_that_have_learned_enough_wait_for_the_others(settings):
    tasks = [stream(0), stream(1)]
    common = {"learning_rate": 0.02, "stop": ng.UntilAccuracy(1.0, at_most=2000, every=5), **settings}
    together = ng.train_tasks([mlp(0), mlp(1)], tasks, seeds=[5, 6], **common)
    for i in range(2):
        alone = ng.train_tasks([mlp(i)], tasks[i], seeds=[5 + i], **common)
        assert together.steps[i].tolist() == alone.steps[0].tolist()
        torch.testing.assert_close(together.distance[i], alone.distance[0], rtol=ITERATED, atol=ITERATED)
        assert (alone.train_scores[0].diagonal() == 1).all()
    assert together.steps[0].tolist() != together.steps[1].tolist()


def test_single_precision_follows_double():
    tasks = stream()
    double, _ = trained(mlp(), tasks, steps=10)
    single, _ = trained(mlp(dtype=torch.float32), tasks.to(torch.float32), steps=10)
    torch.testing.assert_close(single.distance, double.distance, rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"networks": []}, "0 networks"),
        ({"streams": [stream(), stream()]}, "1 networks and 2 streams"),
        ({"networks": [mlp(outputs=1)]}, "have 1 outputs, but"),
        ({"learning_rate": [0.1, 0.1]}, "3 phases but 2 learning rates"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"learning_rate": "a"}, "learning_rate must be positive"),
        ({"learning_rate": None}, "learning_rate must be positive"),
        ({"networks": mlp()}, "give a list of networks"),
        ({"networks": [mlp(dtype=torch.float32)]}, r"compute in torch.float32.*give stream\.to"),
        ({"streams": None}, "streams must be a TaskStream"),
        ({"streams": [1]}, "streams must be a TaskStream"),
        ({"networks": [1]}, "give a list of networks"),
        ({"seeds": ["a"]}, "seeds must be integers"),
        ({"seeds": 1.5}, "seeds must be integers"),
        ({"curve_points": 2.5}, "curve_points must be an integer"),
        ({"curve_points": -1}, "curve_points must be an integer of at least 0"),
        ({"optimizer": "sgd", "batch_size": 2.5}, "batch_size must be an integer"),
        ({"optimizer": "lion"}, "unknown optimizer"),
        ({"batch_size": 2}, "for minibatches use 'sgd'"),
        ({"optimizer": "sgd", "batch_size": 99}, "between 1 and the 5"),
        ({"optimizer": "sgd", "momentum": 1.0}, "momentum"),
        ({"loss": "hinge"}, "unknown loss"),
        ({"streams": stream(classes=False), "loss": "cross_entropy"}, "one-hot or probabilities"),
        ({"seeds": [1, 2]}, "1 networks but 2 seeds"),
        ({"stop": ng.Steps([3, 3])}, "give one a task"),
        ({"stop": ng.Steps([3] * 9)}, "give one a task"),
        ({"stop": 2}, r"such as Steps\(100\)"),
        ({"method": "ogd"}, r"method must be Joint\(\)"),
        ({"method": ng.OGD(), "optimizer": "adam"}, "Adam bends"),
        ({"stop": ng.KernelTime(1e-9)}, "less than half a step"),
        ({"stop": ng.KernelTime(0.3), "optimizer": "adam"}, "Adam does not follow gradient flow"),
        ({"method": ng.OGD(budget=100.0)}, "would store"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(settings, words):
    given = {"networks": [mlp()], "streams": stream(), "learning_rate": 0.1, "stop": ng.Steps(2)} | settings
    with pytest.raises(StudyError, match=words):
        ng.train_tasks(given.pop("networks"), given.pop("streams"), **given)


@pytest.mark.parametrize(
    "rate",
    [
        np.float64(0.02),
        np.float32(0.02),
        torch.tensor(0.02),
        np.array(0.02),
        torch.full((3,), 0.02),
        [torch.tensor(0.02)] * 3,
    ],
)
def test_learning_rates_of_numpy_and_torch_are_numbers(rate):
    given, _ = trained(mlp(), stream(), steps=3, learning_rate=rate)
    plain, _ = trained(mlp(), stream(), steps=3)
    torch.testing.assert_close(given.distance, plain.distance, rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ng.Steps(0),
        lambda: ng.Epochs(0),
        lambda: ng.UntilAccuracy(1.5),
        lambda: ng.KernelTime(float("inf")),
        lambda: ng.KernelTime("1"),
        lambda: ng.UntilAccuracy("0.9"),
        lambda: ng.EWC("1"),
        lambda: ng.OGD(budget="4GB"),
        lambda: ng.OGD(budget=-1),
        lambda: ng.OGD(examples=0),
        lambda: ng.OGD(directions="some"),
        lambda: ng.PCAOGD(components=0),
        lambda: ng.EWC(-1.0),
        lambda: ng.Replay(0),
        lambda: ng.Replay(2, weight=0.0),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(StudyError):
        make()


def test_networks_that_cannot_be_run_together_are_refused():
    networks = [
        nn.Sequential(
            nn.Linear(FEATURES, OUTPUTS, dtype=torch.float64), nn.BatchNorm1d(OUTPUTS, dtype=torch.float64)
        )
        for _ in range(2)
    ]
    with pytest.raises(ModelError, match=r"model\.eval"):
        ng.train_tasks(networks, stream(), learning_rate=0.1, stop=ng.Steps(2))
    with pytest.raises(ModelError, match="one architecture"):
        ng.train_tasks([mlp(), linear()], stream(), learning_rate=0.1, stop=ng.Steps(2))


def test_streams_of_other_sizes_or_other_heads_cannot_be_learned_together():
    with pytest.raises(StudyError, match="same sizes"):
        ng.train_tasks([mlp(), mlp()], [stream(), stream(n=6)], learning_rate=0.1, stop=ng.Steps(2))
    other = stream(columns=[(0, 1), (1, 0)[::-1], (0,)])
    with pytest.raises(StudyError, match="same outputs"):
        ng.train_tasks([mlp(), mlp()], [stream(), other], learning_rate=0.1, stop=ng.Steps(2))
