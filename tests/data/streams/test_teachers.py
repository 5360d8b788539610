"""Teachers of a chosen correlation; means over n random points deviate by some 1/√n, those of products by more."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.data.streams.teachers import HIDDEN, white_features

MANY = 40_000
NEAR = 8 / math.sqrt(MANY)


@pytest.mark.parametrize("similarity", [-1.0, 0.0, 0.5, 0.9, 1.0])
def test_two_teachers_in_a_row_have_the_correlation_of_every_seed(similarity):
    options = {"n_train": 5, "n_test": MANY, "tasks": 3, "same_inputs": True, "similarity": similarity}
    for seed in (0, 1):
        stream = ng.continual.load_stream("teachers", seed=seed, **options)
        functions = [task.test.y[:, 0].double() for task in stream.tasks]
        for f in functions:
            assert abs(f.mean()) < NEAR
            assert abs(f.square().mean() - 1) < NEAR
        for before, after in pairwise(functions):
            assert (before * after).mean().item() == pytest.approx(similarity, abs=NEAR)


@pytest.mark.parametrize("dim", [3, 10])
def test_features_are_white_over_the_sphere(dim):
    rng = np.random.default_rng(0)
    x, directions = (rng.standard_normal((n, dim)) for n in (MANY, HIDDEN))
    x, directions = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, directions))
    z = white_features(x, directions)
    assert np.abs(z.mean(axis=0)).max() < NEAR
    assert np.abs(z.T @ z / MANY - np.eye(HIDDEN)).max() < 2 * NEAR


def test_noise_is_in_training_targets_alone():
    quiet, loud = (
        ng.continual.load_stream("teachers", n_train=4000, tasks=2, noise=s, seed=2) for s in (0.0, 0.5)
    )
    added = (loud.tasks[0].train.y - quiet.tasks[0].train.y).square().mean().sqrt()
    assert added.item() == pytest.approx(0.5, rel=5 / math.sqrt(2 * 4000))


def test_few_dimensions_are_enough():
    for seed in range(20):
        stream = ng.continual.load_stream("teachers", dim=2, seed=seed)
        assert all(torch.isfinite(task.train.y).all() for task in stream.tasks)
