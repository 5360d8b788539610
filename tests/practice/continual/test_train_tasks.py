"""Networks on streams: the same numbers together as alone, and when training ends."""

import pytest
import torch

import ntkgap as ng
from tests.practice.continual.made import linear, mlp, stream, trained
from tests.tolerances import EXACT, ITERATED, SINGLE


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
        {"method": ng.continual.OGD()},
        {"method": ng.continual.PCAOGD(components=3)},
        {"method": ng.continual.EWC(0.3)},
        {"method": ng.continual.EWC(0.3, online=True)},
        {"method": ng.continual.Replay(2)},
        {"method": ng.continual.Joint()},
    ],
    ids=lambda s: str(next(iter(s.values()), "plain")),
)
def test_networks_learn_together_what_they_learn_alone(settings):
    tasks = [stream(seed) for seed in (3, 4)]
    networks = [mlp(seed) for seed in (3, 4)]
    common = {"learning_rate": 0.01, "stop": ng.continual.Steps(12), "curve_points": 2, **settings}
    together = ng.continual.train_tasks(networks, tasks, seeds=[3, 4], **common)
    for i in range(2):
        alone = ng.continual.train_tasks([networks[i]], tasks[i], seeds=[3 + i], **common)
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
    assert runs.curve_steps.tolist() == [[3, 7, 20, 23, 27, 40, 43, 47, 60]] * len(runs.curve_steps)
    torch.testing.assert_close(runs.curves[0, [2, 5, 8]], runs.scores[0])


def test_a_network_that_diverges_stands_still_and_the_others_go_on():
    tasks = [stream(0), stream(1)]
    wild = linear(1)
    with torch.no_grad():
        wild.weight.mul_(1e160)
    runs = ng.continual.train_tasks([linear(0), wild], tasks, learning_rate=0.02, stop=ng.continual.Steps(30))
    assert runs.diverged.tolist() == [False, True]
    assert torch.isnan(runs.scores[1]).all()
    alone = ng.continual.train_tasks([linear(0)], tasks[0], learning_rate=0.02, stop=ng.continual.Steps(30))
    torch.testing.assert_close(runs.scores[0], alone.scores[0])
    hot, _ = trained(linear(), tasks[0], learning_rate=5.0, steps=300)
    assert bool(hot.diverged[0])


def test_training_ends_when_it_is_told_to():
    tasks = stream()

    def steps(stop, **settings):
        return (
            ng.continual.train_tasks([mlp()], tasks, learning_rate=0.02, stop=stop, **settings).steps[0].tolist()
        )

    assert steps(ng.continual.Steps([1, 2, 3])) == [1, 2, 3]
    assert steps(ng.continual.Epochs(4)) == [4, 4, 4]
    assert steps(ng.continual.Epochs(4), optimizer="sgd", batch_size=2) == [12, 12, 12]  # 2, 2 and 1 of 5 examples
    assert steps(ng.continual.Epochs(4), optimizer="sgd", batch_size=2, keep_last=False) == [8, 8, 8]
    assert steps(ng.continual.KernelTime(0.3)) == [15, 15, 15]
    assert steps(ng.continual.KernelTime(0.3), optimizer="sgd", momentum=0.8) == [3, 3, 3]
    assert steps(ng.continual.KernelTime(0.3), momentum=0.8) == [15, 15, 15]  # "gd" has none
    found = steps(ng.continual.UntilAccuracy(1.0, at_most=2000, every=5))
    assert all(n % 5 == 0 and 0 < n < 2000 for n in found)
    assert steps(ng.continual.UntilAccuracy(1.0, at_most=3, every=5)) == [3, 3, 3]


def test_a_kernel_time_is_one_place_on_the_path_with_and_without_momentum():
    tasks, common = stream(classes=False), {"learning_rate": 1e-4, "stop": ng.continual.KernelTime(0.05)}
    plain = ng.continual.train_tasks([linear()], tasks, **common)
    heavy = ng.continual.train_tasks([linear()], tasks, optimizer="sgd", momentum=0.5, **common)
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
    common = {"learning_rate": 0.02, "stop": ng.continual.UntilAccuracy(1.0, at_most=2000, every=5), **settings}
    together = ng.continual.train_tasks([mlp(0), mlp(1)], tasks, seeds=[5, 6], **common)
    for i in range(2):
        alone = ng.continual.train_tasks([mlp(i)], tasks[i], seeds=[5 + i], **common)
        assert together.steps[i].tolist() == alone.steps[0].tolist()
        torch.testing.assert_close(together.distance[i], alone.distance[0], rtol=ITERATED, atol=ITERATED)
        assert (alone.train_scores[0].diagonal() == 1).all()
    assert together.steps[0].tolist() != together.steps[1].tolist()


def test_single_precision_follows_double():
    tasks = stream()
    double, _ = trained(mlp(), tasks, steps=10)
    single, _ = trained(mlp(dtype=torch.float32), tasks.to(torch.float32), steps=10)
    torch.testing.assert_close(single.distance, double.distance, rtol=SINGLE, atol=SINGLE)
