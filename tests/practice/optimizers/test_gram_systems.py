import copy
import re

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from ntkgap.practice import natural_gradient_descent
from ntkgap.practice.optimizers.gram_systems import LARGEST_GRAM
from tests.practice.problems import small_problem


def test_conjugate_gradients_take_the_steps_of_the_factorized_gram_matrix(generator):
    model, data, test = small_problem(generator)
    other = copy.deepcopy(model)
    settings = {"learning_rate": 0.7, "steps": 3, "damping": 0.1, "test": test}
    exact = natural_gradient_descent(model, data, **settings)
    free = natural_gradient_descent(other, data, solver="conjugate_gradients", **settings)
    # Each step is solved to a relative residual of √ε = 1.5e-8.
    assert free.losses == pytest.approx(exact.losses, rel=1e-6)
    assert free.test_losses == pytest.approx(exact.test_losses, rel=1e-6)
    assert len(free.seconds) == len(exact.seconds) == len(exact.test_losses) == 4
    assert exact.dampings == free.dampings == [0.1] * 3
    assert exact.learning_rates == [0.7] * 3


def test_conjugate_gradients_that_do_not_converge_end_the_run_with_the_remedy(generator):
    x = torch.randn(1, 3, dtype=torch.float64, generator=generator).repeat(4, 1)
    data = ng.Dataset(x, torch.randn(4, 1, dtype=torch.float64, generator=generator))
    curve = natural_gradient_descent(
        nn.Linear(3, 1).double(), data, learning_rate=0.5, steps=3, solver="conjugate_gradients"
    )
    assert re.search(r"cannot be solved at step 0; .* raise damping", curve.stopped)


def test_what_is_too_large_to_factorize_is_refused_at_once(monkeypatch):
    rows = LARGEST_GRAM // 10 + 1
    data = ng.Dataset(torch.zeros(rows, 2), torch.zeros(rows, 10))
    with pytest.raises(StudyError, match=r"Gram matrix of 20010 rows, and at most 20000 .*conjugate_gradients"):
        natural_gradient_descent(nn.Linear(2, 10), data, learning_rate=0.5, steps=1)
    monkeypatch.setattr("ntkgap.practice.optimizers.gram_systems.free_memory", lambda device: 2 * 10**6)
    small = ng.Dataset(data.x[:100], data.y[:100])
    with pytest.raises(StudyError, match=r"take 0.0 GB where 0.0 GB may be used"):
        natural_gradient_descent(nn.Linear(2, 10), small, learning_rate=0.5, steps=1)


def test_targets_of_another_shape_are_refused(generator):
    model, data, _ = small_problem(generator)
    wrong = ng.Dataset(data.x, data.y.expand(-1, 2).contiguous())
    for solver in ("cholesky", "conjugate_gradients"):
        with pytest.raises(ModelError, match=r"outputs have shape \(8, 1\), the targets \(8, 2\)"):
            natural_gradient_descent(model, wrong, learning_rate=0.5, steps=1, damping=0.1, solver=solver)
