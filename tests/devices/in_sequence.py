"""Calls about tasks and games, which come one after the other."""

from __future__ import annotations

from typing import Any

import torch

import ntkgap as ng
from ntkgap import bandits
from tests.devices.made import Device, case, classes, drawn, grams, net


@case
def tasks_in_sequence(device):
    k, _, _ = grams(device)
    blocks = [[k[:3, :3], k[:3, 3:]], [k[3:, :3], k[3:, 3:]]]
    y = drawn(6, 2).double().to(device)
    regression = ng.continual.SequentialRegression(torch.zeros(6, 2, dtype=torch.float64, device=device))
    regression.learn(k[:, :3], range(3), y[:3]).learn(k[:, 3:], torch.arange(3, 6), y[3:])
    return ng.continual.task_overlap(blocks), ng.continual.sequential_duals(k, [3, 3], y), regression.function


def stream(device: Device) -> ng.continual.TaskStream:
    made = [classes(device, 6, 2), classes(device, 6, 2)]
    return ng.continual.stream_of([(d, d) for d in made])


@case
def continual(device):
    found = []
    tasks = stream(device)
    networks = [net(device, outputs=tasks.n_outputs, seed=s) for s in range(2)]
    for method in (
        None,
        ng.continual.Joint(),
        ng.continual.OGD(),
        ng.continual.PCAOGD(components=2),
        ng.continual.EWC(1.0),
        ng.continual.Replay(2),
    ):
        options = {"optimizer": "sgd", "batch_size": 3, "curve_points": 2}
        runs = ng.continual.train_tasks(
            networks, tasks, learning_rate=0.01, stop=ng.continual.Steps(2), method=method, **options
        )
        found += [runs.scores, runs.train_losses, runs.curves]
    stop = ng.continual.UntilAccuracy(0.9, 3)
    runs = ng.continual.train_tasks(networks, tasks, learning_rate=0.01, stop=stop, optimizer="adam")
    predicted = ng.continual.predict_tasks(networks[0], tasks, learning_rate=0.01, steps=[1, 3])
    return [
        *found,
        runs.scores,
        ng.continual.AccuracyMatrix(runs.scores[0]).forgetting(),
        predicted.matrix(0).forgetting(),
        predicted.overlap,
    ]


def environment(device: Device, **options: Any) -> bandits.Environment:
    return bandits.make_environment(classes(device, 6), features="unit_norm", **options)


def rewards(device: Device, game: bandits.Environment, **options: Any) -> bandits.RewardModel:
    network = net(device, in_features=game.in_features, outputs=game.out_features, nonlinearity="tanh")
    seeded = torch.Generator().manual_seed(0)
    training = bandits.RewardTraining(steps=2, every=3, **options)
    return bandits.RewardModel(network, training, regularization=1.0, generator=seeded)


def policies(device: Device, game: bandits.Environment) -> list[bandits.Policy]:
    seeded = torch.Generator().manual_seed(1)
    d = game.contexts.shape[1]
    network = net(device, in_features=game.in_features, outputs=game.out_features)
    kernel = bandits.infinite_kernel(network)
    return [
        bandits.LinUCB(game.arms, d), bandits.LinTS(game.arms, d, generator=seeded),
        bandits.UniformPolicy(game.arms, seeded), bandits.EpsilonGreedy(rewards(device, game), 0.5, seeded),
        bandits.NeuralUCB(rewards(device, game, optimizer="sgd", batch_size=2), 0.1),
        bandits.NeuralUCB(rewards(device, game), 0.1, design="diagonal", mean="linearized"),
        bandits.NeuralTS(rewards(device, game), 0.1, mean="kernel_ridge", at="initial", generator=seeded),
        bandits.LaplaceUCB(rewards(device, game, optimizer="adam")),
        bandits.LaplaceTS(rewards(device, game), generator=seeded),
        bandits.NeuralLinear(rewards(device, game), game.arms, generator=seeded),
        bandits.EnsembleTS([rewards(device, game), rewards(device, game)], generator=seeded),
        bandits.KernelUCB(kernel, game.arms, noise=0.1, exploration=1.0),
        bandits.TabulatedKernelUCB(game, kernel, noise=0.1, exploration=1.0),
    ]  # fmt: skip


def _played(device: Device, encoding: str) -> Any:
    game = environment(device, encoding=encoding)
    some = slice(None) if encoding == "outputs" else slice(4, None, 4)
    runs = [bandits.play(game, policy, diagnose_at=[4]) for policy in policies(device, game)[some]]
    return [[run.regret, run.rewards, run.arms, run.diagnoses] for run in runs]


@case
def bandit_policies(device):
    return _played(device, "disjoint")


@case
def bandit_policies_with_an_output_an_arm(device):
    return _played(device, "outputs")


@case
def norm_bound(device):
    game = environment(device)
    return bandits.norm_bound(game, bandits.infinite_kernel(net(device, in_features=game.in_features, outputs=1)))
