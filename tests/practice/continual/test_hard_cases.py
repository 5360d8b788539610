"""Training on tasks where arithmetic is hardest: dependent gradients, many parameters, networks that diverge."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.data import Task, TaskStream
from ntkgap.errors import StudyError
from ntkgap.practice.continual.orthogonal_gradients import _orthonormal
from tests.practice.continual.made import FEATURES, OUTPUTS, linear, mlp, stream, trained
from tests.tolerances import EXACT, FLOW, ITERATED, SINGLE


def numbers(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def regressions(*inputs):
    """A stream whose tasks have these inputs."""
    data = [ng.Dataset(x, numbers(len(x), OUTPUTS, seed=i)) for i, x in enumerate(inputs)]
    return TaskStream("made", tuple(Task(f"task {i}", d, d, tuple(range(OUTPUTS))) for i, d in enumerate(data)))


def repeated():
    x = numbers(3, FEATURES)
    return torch.stack([x[0], x[0], x[1], x[2]])


def with_zero():
    x = numbers(4, FEATURES)
    x[0] = 0
    return x


@pytest.mark.parametrize(
    "method", [ng.continual.OGD(), ng.continual.PCAOGD(components=8)], ids=["all", "principal"]
)
@pytest.mark.parametrize("make", [repeated, with_zero])
def test_orthogonal_gradients_keep_outputs_whose_gradients_depend_on_each_other(make, method):
    x = make()
    _, seen = trained(linear(), regressions(x, numbers(5, FEATURES, seed=7)), method, steps=40)
    torch.testing.assert_close(seen.outputs(2, x), seen.outputs(1, x), rtol=ITERATED, atol=ITERATED)


def test_orthogonal_gradients_keep_outputs_of_tasks_that_share_examples():
    first = numbers(4, FEATURES)
    second = torch.cat([first[:2], numbers(3, FEATURES, seed=8)])
    _, seen = trained(
        linear(), regressions(first, second, numbers(4, FEATURES, seed=9)), ng.continual.OGD(), steps=40
    )
    torch.testing.assert_close(seen.outputs(3, second), seen.outputs(2, second), rtol=ITERATED, atol=ITERATED)


def test_a_basis_in_single_precision_has_all_directions_of_many_parameters_and_no_others():
    common = numbers(1, 400_000, 1, dtype=torch.float32)
    old = common + 0.3 * numbers(1, 400_000, 6, seed=1, dtype=torch.float32)
    basis = _orthonormal(torch.cat([old, old[..., :2]], dim=2).mT, None)
    fresh = 0.01 * numbers(1, 400_000, 2, seed=2, dtype=torch.float32)
    new = _orthonormal(torch.cat([old @ numbers(6, 3, dtype=torch.float32), fresh], dim=2).mT, basis)
    whole = torch.cat([basis, new], dim=1)[0].double().T
    whole = whole[:, whole.norm(dim=0) > 0]
    assert whole.shape[1] == 8
    torch.testing.assert_close(whole.T @ whole, torch.eye(8, dtype=torch.float64), rtol=SINGLE, atol=SINGLE)
    for directions in (old, fresh):
        left = directions[0].double() - whole @ (whole.T @ directions[0].double())
        assert left.norm() < SINGLE * directions.norm()


def test_the_label_of_one_output_is_that_output_whatever_its_sign():
    data = [
        ng.Dataset(numbers(4, FEATURES, seed=s), torch.tensor([[-1.0], [1.0]] * 2).double(), 2) for s in (0, 1)
    ]
    tasks = TaskStream("signs", tuple(Task(f"head {c}", d, d, (c,)) for c, d in enumerate(data)))
    network, x = ng.linearize(mlp()), data[0].x
    _, seen = trained(network, tasks, ng.continual.OGD(directions="label"), steps=20)
    torch.testing.assert_close(seen.outputs(2, x)[:, 0], seen.outputs(1, x)[:, 0], rtol=ITERATED, atol=ITERATED)
    _, plain = trained(network, tasks, steps=20)
    assert (plain.outputs(2, x) - plain.outputs(1, x))[:, 0].abs().max() > 1e-3


@pytest.mark.parametrize(
    "method",
    [
        ng.continual.OGD(),
        ng.continual.PCAOGD(components=3),
        ng.continual.EWC(0.3),
        ng.continual.Replay(2),
        ng.continual.Joint(),
    ],
)
def test_a_network_that_diverges_leaves_the_others_alone(method):
    wild = mlp(1)
    with torch.no_grad():
        for p in wild.parameters():
            p.mul_(1e80)
    common = {"learning_rate": 0.02, "stop": ng.continual.Steps(10), "method": method}
    runs = ng.continual.train_tasks([mlp(0), wild], [stream(0), stream(1)], **common)
    assert runs.diverged.tolist() == [False, True]
    alone = ng.continual.train_tasks([mlp(0)], stream(0), **common)
    torch.testing.assert_close(runs.distance[0], alone.distance[0], rtol=EXACT, atol=EXACT)


def test_a_first_batch_that_is_fitted_already_is_no_divergence():
    """One example is fitted at the start and the others are not: the loss of the first batch may be zero."""
    x, network = numbers(6, FEATURES), linear()
    y = network(x).detach()
    y[1:] += 3
    data = ng.Dataset(x, y)
    tasks = TaskStream("made", tuple(Task(name, data, data, (0, 1)) for name in "ab"))
    common = {
        "learning_rate": 1e-4,
        "stop": ng.continual.Epochs(1),
        "optimizer": "sgd",
        "momentum": 0.0,
        "batch_size": 1,
    }
    seeds = range(30)
    first = [int(torch.randperm(6, generator=torch.Generator().manual_seed(seed))[0]) for seed in seeds]
    assert 0 in first  # some network begins with that example
    runs = ng.continual.train_tasks([network] * len(seeds), tasks, seeds=seeds, **common)
    assert not runs.diverged.any()


def test_a_finite_loss_out_of_all_bounds_at_the_end_of_a_task_is_a_divergence():
    runs = ng.continual.train_tasks([linear()], stream(), learning_rate=1e4, stop=ng.continual.Steps(1))
    assert runs.diverged.all()
    assert torch.isnan(runs.scores).all()


class _Flat(nn.Module):
    """A network that gives its one output as [n]."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[:, 0]


@pytest.mark.parametrize(
    "method",
    [
        None,
        ng.continual.OGD(),
        ng.continual.PCAOGD(components=2),
        ng.continual.EWC(0.3),
        ng.continual.Replay(3),
        ng.continual.Joint(),
    ],
)
def test_one_output_may_come_without_a_column(method):
    tasks = stream(columns=[(0,)] * 3, classes=False)
    common = {"learning_rate": 0.02, "stop": ng.continual.Steps(9), "method": method}
    flat = ng.continual.train_tasks([_Flat(mlp(outputs=1))], tasks, **common)
    column = ng.continual.train_tasks([mlp(outputs=1)], tasks, **common)
    torch.testing.assert_close(flat.distance, column.distance, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(flat.scores, column.scores, rtol=EXACT, atol=EXACT)


def test_linearized_networks_together_follow_their_kernels():
    """Outputs of full-batch descent from the kernel at the start alone: f ← f − η Θ(·, X_t)(f(X_t) − y_t)."""
    networks, streams, rate, steps = [mlp(0), mlp(1)], [stream(0), stream(1)], 0.01, 25
    runs = ng.continual.train_tasks(
        [ng.linearize(network) for network in networks],
        streams,
        learning_rate=rate,
        stop=ng.continual.Steps(steps),
    )
    for i, (network, tasks) in enumerate(zip(networks, streams, strict=True)):
        x = torch.cat([task.train.x for task in tasks.tasks] + [task.test.x for task in tasks.tasks])
        kernel = ng.empirical_ntk(network, x)  # [n, n, C, C]
        f, n = network(x).detach(), len(tasks.tasks[0].train)
        for t, task in enumerate(tasks.tasks):
            seen = slice(t * n, (t + 1) * n)
            for _ in range(steps):
                f = f - rate * torch.einsum("njab,jb->na", kernel[:, seen], f[seen] - task.train.y)
            left = 0.5 * (f[seen] - task.train.y).square().sum()
            assert runs.train_losses[i, t] == pytest.approx(float(left), rel=FLOW)
            for s, asked in enumerate(tasks.tasks):
                start = len(tasks) * n + s * len(asked.test)
                answers = f[start : start + len(asked.test)].argmax(dim=1)
                accuracy = (answers == asked.test.y.argmax(dim=1)).double().mean()
                assert runs.scores[i, t, s] == pytest.approx(float(accuracy), abs=FLOW)


def test_principal_directions_are_budgeted_with_what_they_are_taken_from():
    parameters = sum(p.numel() for p in linear().parameters())
    all_of_a_task, kept = 5 * OUTPUTS, 2
    with pytest.raises(StudyError, match="would store 14 directions"):
        trained(linear(), stream(), ng.continual.PCAOGD(components=kept, budget=parameters * all_of_a_task * 8.0))
    trained(
        linear(),
        stream(),
        ng.continual.PCAOGD(components=kept, budget=parameters * (all_of_a_task + 2 * kept) * 8.0),
    )


@pytest.mark.parametrize("steps", [2.0, "3", None, True])
def test_steps_that_are_no_integer_are_refused_in_words(steps):
    with pytest.raises(StudyError, match="integer of at least 1"):
        ng.continual.Steps(steps)
