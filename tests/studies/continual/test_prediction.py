"""What kernels say of a stream: exactly what their own networks do, and nearly what lazy ones do."""

import copy

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.practice.continual import Plain
from ntkgap.studies.continual import ContinualProblem
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.continual.points import Points
from ntkgap.studies.continual.prediction import limit_of, predict_scores
from ntkgap.studies.continual.task_kernels import FEW, finite_kernel
from ntkgap.studies.continual.task_start import TaskStart
from tests.tolerances import EXACT, ITERATED, SINGLE

STEPS = [2, 15]

TINY = {
    "name": "tiny",
    "model": {"architecture": "mlp", "weight_std": 1.4, "antisymmetric": True},
    "data": {"name": "digits", "n_train": 12, "n_test": 25, "options": {"scaling": "unit_norm", "flatten": True}},
    "stream": {"kind": "rotated", "tasks": 3, "angle": 40},
    "widths": [8],
    "training": {"fraction_of_critical": 0.4, "steps": STEPS},
}


def tiny(**changes):
    return ContinualProblem.model_validate({**copy.deepcopy(TINY), **changes})


@pytest.mark.parametrize(
    "stream", [TINY["stream"], {"kind": "split", "tasks": 3, "heads": "per_task"}, {"kind": "split", "tasks": 3}]
)
@pytest.mark.parametrize("antisymmetric", [True, False])
def test_the_kernel_at_the_start_predicts_a_linearized_network_exactly(stream, antisymmetric):
    """All pairs of outputs, whatever the tasks' heads, with a function of its own to begin with or from zero."""
    problem = tiny(stream=stream, model={**TINY["model"], "antisymmetric": antisymmetric})
    tasks = problem.load(0).to(torch.float64)
    points = Points.of(tasks)
    network = problem.network(tasks.template(), 8, torch.Generator().manual_seed(3)).double()
    kernel = finite_kernel(network, tasks, points, full=True)
    with torch.no_grad():
        initial = network(points.x)
    rates = [0.02, 0.03, 0.04]
    predicted = predict_scores(tasks, points, kernel, rates, STEPS, initial)
    for i, stop in enumerate(STEPS):
        runs = ng.continual.train_tasks(
            [ng.linearize(network)], tasks, learning_rate=rates, stop=ng.continual.Steps(stop)
        )
        # Functions agree to rounding; a score could differ only where two outputs tie.
        torch.testing.assert_close(runs.scores[0], predicted.test[i], rtol=0, atol=ITERATED)
        torch.testing.assert_close(runs.train_scores[0], predicted.train[i], rtol=0, atol=ITERATED)


@pytest.mark.parametrize(
    ("stream", "few"),
    [
        (TINY["stream"], False),
        ({"kind": "split", "tasks": 3, "heads": "per_task"}, False),
        ({"kind": "split", "tasks": 3, "heads": "shared"}, True),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_kernels_of_tasks_are_those_of_all_points(stream, few, alone, generator):
    tasks = tiny(stream=stream).load(0).to(torch.float64)
    points = Points.of(tasks)
    network = ng.MLP(64, tasks.n_outputs, 8, 1, generator=generator).double()
    assert (tasks.n_outputs <= FEW) == few
    for t, task in enumerate(tasks.tasks):
        whole = ng.empirical_ntk(network, points.x, task.train.x)[..., list(task.columns)]
        found = finite_kernel(network, tasks, points, full=True, alone=alone)(t)
        for s, block in enumerate(found.blocks, start=t):
            own = whole[points.train[s]][:, :, list(tasks.tasks[s].columns)]
            torch.testing.assert_close(block, own, rtol=EXACT, atol=EXACT)
        assert len(found.blocks) == (1 if alone else 3 - t)
        if few:
            torch.testing.assert_close(found.columns, whole, rtol=EXACT, atol=EXACT)
            continue
        weights = torch.randn(2, len(task.train.x), len(task.columns), generator=generator, dtype=torch.float64)
        expected = torch.einsum("knab,snb->ska", whole, weights)
        torch.testing.assert_close(found.columns.product(weights), expected, rtol=EXACT, atol=EXACT)


def test_no_kernel_is_forecast_where_none_is_asked_for():
    """Three tasks of 37 inputs, ten outputs: networks have K formed on 36 of them, the limit on all."""
    all_kernels = tiny().sizes(8)
    assert (all_kernels.rows**2, all_kernels.gradients) == (pytest.approx(36 * 12 * 100, rel=0.02), 36 * 10)
    assert tiny(kernels=["infinite"]).sizes(8).rows == 3 * 37
    none = tiny(training={"optimizer": "sgd", "learning_rate": 0.1, "steps": STEPS}, kernels=[]).sizes(8)
    assert (none.rows, none.gradients) == (20, 20 * 10)  # the probes
    mean = tiny(full_kernel=False, kernels=["initial"]).sizes(8)
    assert (mean.rows**2, mean.gradients) == (pytest.approx(111 * 12, rel=0.05), 111 * 10)


def test_a_lazy_network_follows_every_prediction_within_two_points():
    """α = 300: the kernel hardly moves, whatever the width."""
    data = {**TINY["data"], "n_test": 200}
    problem = tiny(data=data, model={**TINY["model"], "alpha": 300.0}, widths=[48])
    learner = Learner(problem, 48, 0)
    predicted = learner.predictions()
    for i, stop in enumerate(STEPS):
        seen = TaskStart(learner, stop)
        observed = learner.train(stop, Plain(), seen).scores[0]
        assert (predicted["initial"].test[i] - observed).abs().max() <= 0.02
        learned = torch.ones(3, 3, dtype=torch.bool).tril()
        assert (torch.stack(seen.test) - observed)[learned].abs().max() <= 0.02
        assert seen.changes()[1] < 0.01
    narrow = Learner(tiny(), 8, 0)
    wrong = narrow.predictions()["initial"].test[1] - narrow.train(STEPS[1], Plain()).scores[0]
    assert wrong.abs().max() > 0.02  # what is not lazy does something else


def test_kernels_that_are_taken_anew_carry_their_own_function_along():
    """For a linearized network they are the kernel at the start; within a task nothing is left to be wrong."""
    problem = tiny()
    learner = Learner(problem, 8, 0)
    linear = ng.linearize(learner.network().double())
    learner.network, learner.stream = lambda: linear, learner.stream.to(torch.float64)
    predicted = learner.predictions()["initial"].test[1]
    seen = TaskStart(learner, STEPS[1])
    observed = learner.train(STEPS[1], Plain(), seen).scores[0]
    torch.testing.assert_close(torch.stack(seen.test), predicted, rtol=0, atol=ITERATED)
    torch.testing.assert_close(torch.stack(seen.within), observed, rtol=0, atol=ITERATED)
    moving = Learner(problem, 8, 0)
    seen = TaskStart(moving, STEPS[1])
    moving.train(STEPS[1], Plain(), seen)
    assert (seen.test[0] - seen.within[0]).abs().max() == 0  # both begin at the first task
    assert (seen.test[2] - seen.within[2]).abs().max() > 0  # what the first two got wrong is carried along


def test_a_prediction_that_diverges_says_so():
    stream = tiny().load(0)
    network = ng.MLP(64, 10, width=8, depth=1, generator=torch.Generator().manual_seed(0))
    predicted = ng.continual.predict_tasks(network, stream, learning_rate=100.0, steps=[200])
    with pytest.raises(StudyError, match="lower it"):
        predicted.matrix(0)


def test_the_limit_is_shared_by_all_widths_and_predicts_wide_networks():
    problem = tiny(widths=[8, 1024])
    assert limit_of(problem, 8, 0) is limit_of(tiny(widths=[16]), 16, 0)
    wide = Learner(problem, 1024, 0)
    predicted = wide.predictions()["infinite"].test[0]
    gap = (predicted - wide.train(STEPS[0], Plain()).scores[0])[torch.ones(3, 3, dtype=torch.bool).tril()]
    assert gap.abs().mean() < 0.05
    assert wide.plan.rates == Learner(problem, 8, 0).plan.rates  # matched kernel time at every width


def test_separate_heads_forget_nothing_at_infinite_width():
    problem = tiny(stream={"kind": "split", "tasks": 3, "heads": "per_task"})
    predicted = Learner(problem, 8, 0).predictions()["infinite"].test
    for t in range(3):
        torch.testing.assert_close(predicted[:, -1, t], predicted[:, t, t], rtol=0, atol=0)


def test_points_hold_every_input_where_they_say():
    stream = tiny().load(0)
    points = Points.of(stream)
    for part, places in (("train", points.train), ("test", points.test)):
        for at, task in zip(places, stream.tasks, strict=True):
            torch.testing.assert_close(points.x[at], getattr(task, part).x.double(), rtol=0, atol=0)


def test_the_public_prediction_is_the_one_of_the_study():
    learner = Learner(tiny(), 8, 0)
    for kernel in ("initial", "infinite"):
        found = ng.continual.predict_tasks(
            learner.network(), learner.stream, learning_rate=learner.plan.rates, steps=STEPS, kernel=kernel
        )
        torch.testing.assert_close(found.test, learner.predictions()[kernel].test, rtol=0, atol=ITERATED)
    assert found.matrix(-1).forgetting() == pytest.approx(found.matrix(2).forgetting())


@pytest.mark.parametrize("parametrization", ["mup", "mean_field"])
def test_layers_with_rates_of_their_own_follow_the_prediction_if_they_are_linear(parametrization):
    """One factor for all layers: the kernel is multiplied by it."""
    stream = tiny().load(0).to(torch.float64)
    network = ng.MLP(64, 10, 6, 1, "gelu", parametrization, generator=torch.Generator().manual_seed(0)).double()
    found = ng.continual.predict_tasks(network, stream, learning_rate=0.02, steps=[9])
    runs = ng.continual.train_tasks(
        [ng.linearize(network)], stream, learning_rate=0.02, stop=ng.continual.Steps(9)
    )
    torch.testing.assert_close(found.test[0], runs.scores[0], rtol=0, atol=ITERATED)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": []}, "at least one number"),
        ({"steps": [-1]}, "steps must be an integer"),
        ({"steps": 5}, r"such as \[100\]; got 5"),
        ({"learning_rate": "0.02"}, "learning_rate must be positive"),
        ({"network": torch.ones(3)}, "give a network and a TaskStream"),
        ({"learning_rate": [0.1]}, "3 tasks but 1 learning rates"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"kernel": "finite"}, "'initial' or 'infinite'"),
        ({"network": ng.MLP(64, 3, 4, 1)}, "is about 10 outputs"),
    ],
)
def test_predictions_that_make_no_sense_are_refused(settings, words):
    given = {"network": ng.MLP(64, 10, 4, 1), "learning_rate": 0.1, "steps": [2]} | settings
    with pytest.raises(StudyError, match=words):
        ng.continual.predict_tasks(given.pop("network"), tiny().load(0), **given)


@pytest.mark.parametrize("rate", [np.float32(0.02), torch.tensor(0.02), np.full(3, 0.02, dtype=np.float32)])
def test_learning_rates_of_numpy_and_torch_are_numbers(rate):
    network, stream = ng.MLP(64, 10, 4, 1, generator=torch.Generator().manual_seed(0)), tiny().load(0)
    plain, found = (ng.continual.predict_tasks(network, stream, learning_rate=r, steps=[2]) for r in (0.02, rate))
    torch.testing.assert_close(found.test, plain.test, rtol=SINGLE, atol=SINGLE)
    with pytest.raises(StudyError, match="1 training budgets"):
        found.matrix(7)


def test_a_prediction_that_diverges_is_none():
    """Above the critical step the kernel says that training diverges: its scores, of huge numbers, say nothing."""
    stream = tiny().load(0)
    network = ng.MLP(64, 10, 32, 1, weight_std=2**0.5, antisymmetric=True)
    predicted = ng.continual.predict_tasks(network, stream, learning_rate=20.0, steps=[1, 40])
    assert torch.isfinite(predicted.test[[0, -1]]).all()  # one step is no divergence, and none has no step at all
    assert torch.isnan(predicted.test[1]).all()
    assert torch.isnan(predicted.train[1]).all()
    with pytest.raises(StudyError, match="training diverges within training budget 1"):
        predicted.matrix(1)


def test_the_overlap_of_tasks_is_that_of_their_kernels():
    """Full kernels of finite width, and the shared one of infinite width, with one head and with several."""
    for stream in (TINY["stream"], {"kind": "split", "tasks": 3, "heads": "per_task"}):
        problem = tiny(stream=stream)
        learner = Learner(problem, 8, 0)
        network, tasks = learner.network().double(), learner.stream.to(torch.float64).tasks
        found = learner.predictions()
        grams = []
        for s in tasks:
            kernels = [ng.empirical_ntk(network, s.train.x, t.train.x)[:, :, list(s.columns)] for t in tasks]
            grams.append([ng.as_matrix(k[..., list(t.columns)]) for k, t in zip(kernels, tasks, strict=True)])
        torch.testing.assert_close(
            found["initial"].overlap, ng.continual.task_overlap(grams), rtol=EXACT, atol=EXACT
        )
        limit = ng.infinite_width(network)
        shared = ng.continual.task_overlap([[limit.ntk(s.train.x, t.train.x) for t in tasks] for s in tasks])
        if learner.stream.separate_heads:
            shared = torch.eye(3, dtype=torch.float64)
        torch.testing.assert_close(found["infinite"].overlap, shared, rtol=EXACT, atol=EXACT)
