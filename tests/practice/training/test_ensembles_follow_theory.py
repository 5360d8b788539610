"""Real networks beside the prediction for infinite ones, within what so many members can show.

The moments of an ensemble differ from the infinite ensemble's by sampling, which draws from the predicted Gaussian
show, and by a bias of order 1/width, which is measured on narrow networks, where many members are cheap.
"""

import math
from dataclasses import dataclass
from functools import cache

import pytest
import torch

import ntkgap as ng
from ntkgap.practice import train_ensemble
from ntkgap.theory import (
    InfiniteEnsemble,
    RandomizedPriorEnsemble,
    critical_learning_rate,
    ensemble_errors,
    ensemble_floor,
)
from tests.reference.infinite import relu_kernels

WEIGHT_STD, BIAS_STD = math.sqrt(2), 0.1
STEPS = (1, 4, 30)
WIDTH, MEMBERS = 1024, 60
NARROW, MANY = (32, 64), 2000


@dataclass
class Setting:
    """A function on the circle known at five points, asked at eight; kernels of one hidden ReLU layer."""

    data: ng.Dataset
    inputs: torch.Tensor
    train: tuple  # (NTK, NNGP) of training points
    cross: tuple
    test: tuple


@pytest.fixture(scope="module")
def setting():
    def on_the_circle(angles):
        return math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], dim=1)

    def kernels(a, b):
        return relu_kernels(a, b, 1, WEIGHT_STD, BIAS_STD)

    angles = torch.linspace(-2.5, 2.5, 5)
    x, inputs = on_the_circle(angles), on_the_circle(torch.linspace(-3, 3, 8))
    data = ng.Dataset(x, torch.sin(2 * angles)[:, None])
    return Setting(data, inputs, kernels(x, x), kernels(inputs, x), kernels(inputs, inputs))


def members_of(width, seed):
    def build(i):
        generator = torch.Generator().manual_seed(seed + i)
        return ng.MLP(2, 1, width, 1, "relu", weight_std=WEIGHT_STD, bias_std=BIAS_STD, generator=generator)

    return build


def bias_at(width, error_at):
    """What is left of a squared error at infinitely many members: (error² − E floor²)^½ by three times."""
    errors, floor = error_at(width, MANY)
    return tuple(
        (getattr(errors, name).square() - getattr(floor, name).square().mean(dim=0)).clamp_min(0).sqrt()
        for name in ("mean", "covariance")
    )


@pytest.fixture(scope="module")
def deep(setting):
    """Errors of deep ensembles at three steps, with their floor, by (width, members); and the wrong prediction."""
    rate = 0.5 * critical_learning_rate(setting.train[0])
    ensemble = InfiniteEnsemble(*setting.train, setting.data.y)
    decay = ensemble.gradient_descent_decay(rate, torch.tensor(STEPS))
    predicted = ensemble.predict(decay, setting.cross[0], setting.cross[1], setting.test[1])
    readout = InfiniteEnsemble(setting.train[1], setting.train[1], setting.data.y)
    wrong = readout.predict(
        readout.gradient_descent_decay(rate, torch.tensor(STEPS)),
        setting.cross[1],
        setting.cross[1],
        setting.test[1],
    )

    @cache
    def outputs_of(width, members):
        return train_ensemble(
            members_of(width, 10_000 * width),
            setting.data,
            members,
            learning_rate=rate,
            steps=STEPS[-1],
            inputs=setting.inputs,
            observe_at=STEPS,
        ).outputs

    def error_at(width, members, against=predicted):
        floor = ensemble_floor(against, members, 200, torch.Generator().manual_seed(1))
        return ensemble_errors(outputs_of(width, members), against), floor

    return error_at, wrong


def test_deep_ensembles_are_the_predicted_gaussian(deep):
    error_at, wrong = deep
    (mean_32, cov_32), (mean_64, cov_64) = (bias_at(width, error_at) for width in NARROW)
    # Of order 1/width: twice the width, half the bias. Checked where the bias stands ten times above sampling.
    ratios = torch.cat([mean_32[1:2] / mean_64[1:2], cov_32[:2] / cov_64[:2]])
    assert ((ratios > 1.5) & (ratios < 2.6)).all(), ratios

    errors, floor = error_at(WIDTH, MEMBERS)
    for found, draws, bias in (
        (errors.mean, floor.mean, torch.maximum(32 * mean_32, 64 * mean_64) / WIDTH),
        (errors.covariance, floor.covariance, torch.maximum(32 * cov_32, 64 * cov_64) / WIDTH),
    ):
        low, high = torch.quantile(draws, torch.tensor([0.01, 0.99], dtype=torch.float64), dim=0)
        assert (found < high + bias).all(), (found, high, bias)
        assert (found > low - bias).all(), (found, low, bias)

    # The comparison can tell: networks of which the readout alone is trained are slower, seen best midway.
    errors, floor = error_at(WIDTH, MEMBERS, wrong)
    assert errors.mean[1] > 2 * floor.mean[:, 1].max()


def test_anchored_members_with_noisy_targets_are_the_randomized_prior_ensemble(setting):
    noise = 0.5
    theory = RandomizedPriorEnsemble(*setting.train, setting.data.y, noise)
    predicted = theory.predict(setting.cross[0], setting.cross[1], setting.test[1])
    largest = 2 / critical_learning_rate(setting.train[0]) + noise
    generator = torch.Generator().manual_seed(5)

    found = train_ensemble(
        members_of(WIDTH, 77),
        setting.data,
        MEMBERS,
        learning_rate=1 / largest,
        steps=40,  # the slowest mode shrinks by 1 − (κ_min + σ²)/(κ_max + σ²) = 0.69 a step, to 4e-7
        inputs=setting.inputs,
        targets=setting.data.y + math.sqrt(noise) * torch.randn(MEMBERS, 5, 1, generator=generator),
        anchoring=noise,
    )
    errors = ensemble_errors(found.outputs[:, 0], predicted)
    floor = ensemble_floor(predicted, MEMBERS, 200, generator)
    for error, draws in ((errors.mean, floor.mean), (errors.covariance, floor.covariance)):
        low, high = torch.quantile(draws, torch.tensor([0.01, 0.99], dtype=torch.float64))
        assert low < error < high
