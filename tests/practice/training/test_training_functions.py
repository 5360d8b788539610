"""Training functions of one's own, and ensembles and coordinate checks under any training."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import StudyError
from tests.practice.training.own import CLASSES, FEATURES, data, mlp, practical
from tests.tolerances import EXACT, ITERATED


def test_a_training_function_of_ones_own():
    seen = []

    def fit(model, examples, seed):
        seen.append((seed, model.training, random.random(), np.random.rand(), float(torch.rand(()))))  # noqa: NPY002
        ng.train(model, examples, learning_rate=0.05, steps=30)
        model.eval()

    network, examples = mlp(), data()
    network[0].train()
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    observed = []
    curve = ng.train(
        network, examples, fit=fit, generator=torch.Generator().manual_seed(7), observe=observed.append
    )
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    assert all(module.training for module in network.modules())
    assert all(p.grad is None for p in network.parameters())
    other = mlp()
    expected = ng.train(other, examples, learning_rate=0.05, steps=30).losses
    assert curve.losses == pytest.approx([expected[0], expected[-1]], rel=EXACT)
    assert observed == [0, 1]
    assert len(curve.seconds) == 2
    ng.train(mlp(), examples, fit=fit, generator=torch.Generator().manual_seed(7))
    assert seen[0] == seen[1]
    assert seen[0][0] == 7


def test_a_training_function_that_fails_is_named():
    def raises(model, examples, seed):
        torch.manual_seed(99)
        raise KeyError("no such column")

    def spoils(model, examples, seed):
        with torch.no_grad():
            model[0].weight[0, 0] = torch.nan

    before = torch.get_rng_state()
    with pytest.raises(StudyError, match=r"fit=raises raised KeyError: 'no such column'"):
        ng.train(mlp(), data(), fit=raises)
    assert torch.equal(torch.get_rng_state(), before)
    assert ng.train(mlp(), data(), fit=spoils).stopped == "diverged at step 1"
    with pytest.raises(StudyError, match="returned another network"):
        ng.train(mlp(), data(), fit=lambda model, *_: copy.deepcopy(model))
    with pytest.raises(StudyError, match="would not see steps, learning_rate"):
        ng.train(mlp(), data(), fit=spoils, steps=3, learning_rate=0.1)
    with pytest.raises(StudyError, match="fit must be a function"):
        ng.train(mlp(), data(), fit="fit")


def test_an_ensemble_trains_as_its_members_alone():
    examples, inputs = data(), data(1, 4).x
    settings = {
        "learning_rate": 0.05,
        "steps": 9,
        "optimizer": torch.optim.AdamW,
        "batch_size": 5,
        "loss": nn.CrossEntropyLoss(),
        "schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5),
        "weight_decay": 0.1,
        "clip": 0.5,
    }
    for build in (mlp, practical):
        found = ng.train_ensemble(
            build, examples, 3, inputs=inputs, seeds=[5, 6, 7], observe_at=[0, 9], **settings
        )
        for i in range(3):
            alone = build(i)
            curve = ng.train(alone, examples, generator=torch.Generator().manual_seed(5 + i), **settings)
            alone.eval()
            torch.testing.assert_close(found.outputs[i, -1], alone(inputs).detach(), rtol=ITERATED, atol=ITERATED)
            assert found.losses[i].tolist() == pytest.approx([curve.losses[0], curve.losses[-1]], rel=ITERATED)
    with pytest.raises(StudyError, match="LBFGS evaluates the loss several times a step"):
        ng.train_ensemble(mlp, examples, 2, inputs=inputs, learning_rate=0.1, steps=1, optimizer=torch.optim.LBFGS)


def test_an_ensemble_by_a_training_function():
    examples, inputs = data(), data(1, 4).x

    def fit(model, given, seed):
        ng.train(model, given, learning_rate=0.05, steps=seed)

    found = ng.train_ensemble(practical, examples, 2, inputs=inputs, fit=fit, seeds=[3, 8], observe_at=[0, 1])
    for i, steps in enumerate((3, 8)):
        alone = practical(i)
        ng.train(alone, examples, learning_rate=0.05, steps=steps)
        torch.testing.assert_close(found.outputs[i, 1], alone.eval()(inputs).detach(), rtol=EXACT, atol=EXACT)
    with pytest.raises(StudyError, match="would not see steps"):
        ng.train_ensemble(mlp, examples, 2, inputs=inputs, fit=fit, steps=3)


def test_coordinates_are_checked_under_any_training():
    def build(width):
        return nn.Sequential(
            nn.Linear(FEATURES, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, CLASSES)
        )

    examples = data().to(torch.float32)
    state = torch.get_rng_state()
    found = ng.practice.coordinate_check(
        build,
        examples,
        [8, 32],
        steps=2,
        learning_rate=0.01,
        seeds=(0, 1),
        optimizer=torch.optim.AdamW,
        batch_size=5,
        loss=nn.CrossEntropyLoss(),
        weight_decay=0.1,
    )
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build(32)
    before = network.eval()(examples.x).detach()
    network.train()
    ng.train(
        network,
        examples,
        steps=2,
        learning_rate=0.01,
        optimizer=torch.optim.AdamW,
        batch_size=5,
        loss=nn.CrossEntropyLoss(),
        weight_decay=0.1,
        generator=torch.Generator().manual_seed(1),
    )
    moved = (network.eval()(examples.x).detach() - before).double().square().mean().sqrt()
    assert found.change["output"][1, 1] == pytest.approx(float(moved), rel=1e-6)
