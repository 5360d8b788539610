import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.data.streams.regressions import HIDDEN_UNITS, whitened_relu

MANY = 40_000


def functions(**options):
    stream = ng.load_stream("regressions", n_train=5, n_test=MANY, **options)
    assert stream.tasks[0].train.n_classes is None
    return torch.stack([task.test.y[:, 0] for task in stream.tasks])


@pytest.mark.parametrize("teacher", ["linear", "relu"])
@pytest.mark.parametrize("angle", [0, 30, 90, 120, 180])
def test_each_function_is_correlated_with_the_one_before(teacher, angle):
    f = functions(teacher=teacher, angle=angle, tasks=3, seed=1).double()
    # Means over n points deviate by a few 1/√n; squares of teachers by more, as their tails are heavier.
    near = 8 / math.sqrt(MANY)
    assert f.mean(dim=1).abs().max() < near
    assert (f.square().mean(dim=1) - 1).abs().max() < near
    for before, after in pairwise(f):
        assert (before * after).mean().item() == pytest.approx(math.cos(math.radians(angle)), abs=near)


def test_relu_features_are_white_over_the_sphere():
    rng = np.random.default_rng(0)
    x, directions = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in rng.standard_normal((2, MANY, 5)))
    z = whitened_relu(x, directions[:HIDDEN_UNITS])
    assert np.abs(z.mean(axis=0)).max() < 8 / math.sqrt(MANY)
    assert np.abs(z.T @ z / MANY - np.eye(HIDDEN_UNITS)).max() < 12 / math.sqrt(MANY)


def test_linear_teachers_are_linear_and_relu_teachers_are_not():
    for teacher, linear in (("linear", True), ("relu", False)):
        train = ng.load_stream("regressions", n_train=200, dim=4, teacher=teacher).tasks[2].train.to(torch.float64)
        fit = torch.linalg.lstsq(train.x, train.y).solution
        assert ((train.x @ fit - train.y).abs().max() < 1e-6) == linear


def test_inputs_are_on_the_sphere_and_new_or_the_same():
    new, same = (ng.load_stream("regressions", same_inputs=flag) for flag in (False, True))
    for stream in (new, same):
        for task in stream.tasks:
            torch.testing.assert_close(task.train.x.norm(dim=1), torch.ones(100))
            assert torch.equal(task.test.x, stream.tasks[0].test.x)
    assert not torch.equal(new.tasks[0].train.x, new.tasks[1].train.x)
    assert torch.equal(same.tasks[0].train.x, same.tasks[4].train.x)


def test_noise_is_in_training_targets_alone():
    quiet, loud = (ng.load_stream("regressions", n_train=4000, tasks=2, noise=s, seed=2) for s in (0.0, 0.5))
    added = (loud.tasks[0].train.y - quiet.tasks[0].train.y).square().mean().sqrt()
    assert added.item() == pytest.approx(0.5, rel=5 / math.sqrt(2 * 4000))
    assert all(torch.equal(a.test.y, b.test.y) for a, b in zip(loud.tasks, quiet.tasks, strict=True))


def test_the_same_function_at_every_task_where_the_angle_is_zero():
    f = functions(angle=0, tasks=3)
    torch.testing.assert_close(f[0], f[2])
    f = functions(angle=180, tasks=2)
    torch.testing.assert_close(f[0], -f[1])
