"""What each method against forgetting guarantees."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.data import TaskStream
from ntkgap.practice.continual import Plain
from tests.practice.continual.made import FEATURES, OUTPUTS, N, linear, mlp, stream, trained
from tests.tolerances import EXACT, ITERATED


@pytest.mark.parametrize("optimizer", ["gd", "sgd"])
@pytest.mark.parametrize("make", [linear, lambda: ng.linearize(mlp())], ids=["linear", "linearized"])
def test_orthogonal_gradients_leave_a_linear_models_old_outputs_alone(make, optimizer):
    tasks = stream(classes=False)
    _, seen = trained(make(), tasks, ng.continual.OGD(), steps=40, optimizer=optimizer)
    _, plain = trained(make(), tasks, steps=40, optimizer=optimizer)
    for t, task in enumerate(tasks.tasks[:-1]):
        x = task.train.x
        for later in range(t + 2, 4):
            torch.testing.assert_close(
                seen.outputs(later, x), seen.outputs(t + 1, x), rtol=ITERATED, atol=ITERATED
            )
        assert (plain.outputs(3, x) - plain.outputs(t + 1, x)).abs().max() > 0.01  # without it they do change


def test_orthogonal_gradients_keep_outputs_where_layers_have_rates_of_their_own():
    tasks = stream(classes=False)
    for parametrization in ("mup", "mean_field"):
        network = ng.linearize(mlp(parametrization=parametrization))
        _, seen = trained(network, tasks, ng.continual.OGD(), steps=20, learning_rate=1e-3)
        x = tasks.tasks[0].train.x
        torch.testing.assert_close(seen.outputs(3, x), seen.outputs(1, x), rtol=ITERATED, atol=ITERATED)
        assert (
            seen.outputs(3, tasks.tasks[2].train.x) - seen.outputs(2, tasks.tasks[2].train.x)
        ).abs().max() > 1e-4


def test_label_directions_keep_the_labels_output_and_only_that():
    tasks = stream()
    _, seen = trained(linear(), tasks, ng.continual.OGD(directions="label"), steps=30)
    task = tasks.tasks[0].train
    kept, free = task.y.bool(), ~task.y.bool()
    before, after = seen.outputs(1, task.x), seen.outputs(3, task.x)
    torch.testing.assert_close(after[kept], before[kept], rtol=ITERATED, atol=ITERATED)
    assert (after - before)[free].abs().max() > 0.01


def test_stored_examples_alone_are_kept():
    tasks = stream(classes=False)
    _, seen = trained(linear(), tasks, ng.continual.OGD(examples=2), steps=30)
    x = tasks.tasks[0].train.x
    moved = (seen.outputs(3, x) - seen.outputs(1, x)).abs().amax(dim=1)
    assert moved[:2].max() < ITERATED
    assert moved[2:].min() > 1e-3


def test_enough_principal_directions_are_all_directions_and_few_are_not():
    tasks = stream(classes=False)
    full, _ = trained(linear(), tasks, ng.continual.OGD(), steps=30)
    every, _ = trained(linear(), tasks, ng.continual.PCAOGD(components=N * OUTPUTS), steps=30)
    torch.testing.assert_close(every.scores, full.scores, rtol=ITERATED, atol=ITERATED)
    few, _ = trained(linear(), tasks, ng.continual.PCAOGD(components=2), steps=30)
    assert (few.scores - full.scores).abs().max() > 1e-3


def test_elastic_weights_hold_and_let_go():
    tasks = stream(classes=False)
    plain, _ = trained(linear(), tasks)
    none, _ = trained(linear(), tasks, ng.continual.EWC(0.0))
    torch.testing.assert_close(none.scores, plain.scores, rtol=EXACT, atol=EXACT)
    strong, _ = trained(linear(), tasks, ng.continual.EWC(10_000.0), learning_rate=1e-5)
    weak, _ = trained(linear(), tasks, ng.continual.EWC(0.01), learning_rate=1e-5)
    assert strong.moved[0, 1:].max() < 0.1 * weak.moved[0, 1:].min()


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_the_penalty_is_the_sum_over_tasks_with_the_fisher_information_of_each(online, loss):
    """One step of the third task, from gradients taken one by one."""
    tasks, network = stream(), mlp()
    strength, rate = 0.7, 0.01
    _, seen = trained(network, tasks, ng.continual.EWC(strength, online), steps=1, learning_rate=rate, loss=loss)
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
        centers = [terms[1][1][i] if online else center[i] for _, center in terms]
        pull = sum(f[i] * (p.detach() - c) for (f, _), c in zip(terms, centers, strict=True))
        torch.testing.assert_close(
            after[i].detach(), p.detach() - rate * (g + strength * pull), rtol=ITERATED, atol=ITERATED
        )


def test_rehearsing_everything_is_learning_all_that_was_seen():
    tasks = stream()
    _, seen = trained(linear(), tasks, ng.continual.Replay(N, weight=1.0), steps=15)
    w = seen.networks[2].weight.detach().clone()
    x, y = (torch.cat([getattr(t.train, name) for t in tasks.tasks]) for name in "xy")
    for _ in range(15):
        w = w - 0.02 * (x @ w.T - y).T @ x
    torch.testing.assert_close(seen.networks[3].weight.detach(), w, rtol=ITERATED, atol=ITERATED)
    few, _ = trained(linear(), tasks, ng.continual.Replay(1), steps=15)
    one, _ = trained(linear(), tasks, ng.continual.Replay(1, weight=float(N)), steps=15)
    torch.testing.assert_close(few.scores, one.scores)  # each stands for all of its task


def test_joint_training_knows_no_order():
    tasks = stream()
    turned = TaskStream("turned", tasks.tasks[::-1])
    runs, other = (trained(mlp(), s, ng.continual.Joint(), steps=25)[0] for s in (tasks, turned))
    assert runs.scores.shape == (1, 1, 3)
    torch.testing.assert_close(other.distance, runs.distance, rtol=ITERATED, atol=ITERATED)
    torch.testing.assert_close(other.scores.flip(-1), runs.scores, rtol=ITERATED, atol=ITERATED)


def test_a_task_with_a_head_of_its_own_leaves_the_other_heads_alone():
    heads = [(0, 1), (2, 3), (4, 5)]
    tasks = stream(columns=heads)
    torch.manual_seed(0)
    network = nn.Linear(FEATURES, 6, dtype=torch.float64)
    for loss in ("squared", "cross_entropy"):
        for method in (
            Plain(),
            ng.continual.Joint(),
            ng.continual.Replay(2),
            ng.continual.OGD(),
            ng.continual.EWC(0.1),
        ):
            runs, seen = trained(network, tasks, method, steps=10, loss=loss)
            assert torch.isfinite(runs.scores).all()
            if not isinstance(method, ng.continual.Joint):
                rows = seen.networks[1].weight.detach()[2:]
                torch.testing.assert_close(rows, network.weight.detach()[2:], rtol=0, atol=0)
