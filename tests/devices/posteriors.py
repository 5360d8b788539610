"""Calls about posteriors, and about what kernels predict."""

from __future__ import annotations

import torch
from torch import nn

import ntkgap as ng
from tests.devices.made import case, classes, data, drawn, grams, inputs, net, numbers


@case
def laplace_of_regression(device):
    network, x = net(device), inputs(device, 3)
    found = []
    for route in ("gram", "parameters"):
        posterior = ng.LinearizedLaplace(network, data(device), route=route, noise_variance=0.1).fit_evidence(
            noise_variance=0.1
        )
        predicted = posterior.predict(x, covariance=True)
        samples = posterior.samples(x, 3, torch.Generator().manual_seed(0))
        found += [predicted, posterior.log_evidence, samples, posterior.map_step(), posterior.prior_precision]
    own = ng.LinearizedLaplace(network, data(device), noise_variance=[0.1, 0.2], prior_mean=net(device, seed=3))
    return [*found, own.predict(x)]


@case
def laplace_of_classes(device):
    found = []
    for network, kind, given in (
        (net(device, outputs=3), "categorical", classes(device)),
        (
            net(device, outputs=1),
            "bernoulli",
            ng.Dataset(inputs(device, 4), torch.tensor([[0.0], [1], [1], [0]]).to(device)),
        ),
    ):
        posterior = ng.LinearizedLaplace(network, given, likelihood=kind, prior_precision=1.0)
        x = inputs(device, 3)
        found += [posterior.predict(x), posterior.log_evidence, posterior.probabilities(x)]
        found += [
            posterior.probabilities(x, "monte_carlo", samples=10, generator=torch.Generator().manual_seed(0))
        ]
    return found


@case
def online_laplace(device):
    found = ng.practice.online_laplace(net(device), data(device), learning_rate=0.01, steps=3)
    return numbers(found)


@case
def calibrations(device):
    y, mean, std = drawn(20).to(device), drawn(20, seed=1).to(device), drawn(20, seed=2).abs().to(device) + 0.1
    given = classes(device)
    p = drawn(9, 3).softmax(1).to(device)
    return ng.practice.calibration(mean, std, y), ng.practice.classification_calibration(p, given.y.argmax(1))


@case
def gaussian_processes(device):
    train, cross, test = grams(device)
    y, one_hot = drawn(6, 2).double().to(device), nn.functional.one_hot(torch.arange(6) % 3).double().to(device)
    process = ng.GaussianProcess(train, y, 0.1)
    found = process.predict(cross, test)
    posterior = ng.theory.GaussianProcessClassifier(train, one_hot).fit_evidence().predict(cross, test)
    draws = torch.Generator().manual_seed(0)
    return [
        found.mean,
        found.covariance,
        process.log_marginal_likelihood,
        posterior,
        posterior.probabilities("monte_carlo", samples=10, generator=draws),
        found.draw(3, torch.Generator().manual_seed(0)),
    ]


@case
def infinite_ensembles(device):
    train, cross, test = grams(device)
    y = drawn(6, 2).double().to(device)
    found = []
    ensemble = ng.InfiniteEnsemble(train, train, y)
    decay = ensemble.gradient_descent_decay(0.1, torch.tensor([1, 5]).to(device))
    found += [ensemble.predict(decay, cross, cross, test), ensemble.predict_training(decay)]
    found += [
        ensemble.gradient_flow_decay(2.0),
        ensemble.converged_decay(),
        ensemble.gradient_descent_decay(0.1, torch.tensor([1, 3])),
    ]
    anchored = ng.theory.RandomizedPriorEnsemble(train, train, y, 0.1)
    return [*found, anchored.predict(cross, cross, test)]


@case
def dynamics(device):
    train, cross, _ = grams(device)
    y, start = drawn(6, 1).double().to(device), drawn(6, 1, seed=5).double().to(device)
    modes = ng.KernelDynamics(train, start - y)
    decay = modes.gradient_descent_decay(0.1, torch.arange(4))
    found = [
        modes.losses(decay),
        modes.predictions(decay, cross, drawn(3, 1).double().to(device)),
        modes.natural_gradient_decay(0.5, 2, 0.1),
    ]
    course = modes.train(y, learning_rate=0.1, steps=3)
    for options in ({"momentum": 0.9}, {"weight_decay": 0.1, "decay_to": "initial"}):
        found.append(
            ng.theory.train_in_function_space(train, start, y, learning_rate=0.1, steps=3, **options).losses
        )
    labels = nn.functional.one_hot(torch.arange(6) % 2).double().to(device)
    found.append(
        ng.theory.train_in_function_space(
            train,
            drawn(6, 2).double().to(device),
            labels,
            loss="cross_entropy",
            learning_rate=0.1,
            steps=3,
            observe_at=torch.tensor([1, 3]),
        ).losses
    )
    return [*found, course.losses]
