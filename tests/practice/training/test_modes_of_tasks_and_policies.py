"""Batch statistics and random masks where tasks are learned in sequence, and where policies play."""

import copy

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.practice.bandits import (
    EnsembleTS,
    EpsilonGreedy,
    LaplaceTS,
    NeuralLinear,
    NeuralUCB,
    RewardModel,
    RewardTraining,
    play,
)
from tests.practice.bandits.games import small_game
from tests.practice.continual.made import stream
from tests.practice.training.modal import NETWORKS, normalized, untouched
from tests.tolerances import EXACT, ITERATED


@NETWORKS
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "batch_size": 3, "keep_last": False},
        {"optimizer": torch.optim.AdamW, "loss": nn.CrossEntropyLoss(), "clip": 1.0},
        {"method": ng.continual.OGD()},
        {"method": ng.continual.EWC(0.3)},
        {"method": ng.continual.Replay(3)},
        {"method": ng.continual.Joint()},
    ],
    ids=["plain", "sgd", "adamw", "ogd", "ewc", "replay", "joint"],
)
def test_tasks_are_learned_together_as_alone(build, settings):
    tasks, networks = [stream(3, n=6), stream(4, n=6)], [build(3), build(4)]
    common = {"learning_rate": 0.01, "stop": ng.continual.Steps(6), "curve_points": 2, **settings}
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    together = untouched(lambda: ng.continual.train_tasks(networks, tasks, seeds=[3, 4], **common))
    for i in range(2):
        torch.testing.assert_close(networks[i].state_dict(), before[i], rtol=0, atol=0)
        alone = ng.continual.train_tasks([networks[i]], tasks[i], seeds=[3 + i], **common)
        for name in ("scores", "train_losses", "moved", "distance", "curves", "initial"):
            torch.testing.assert_close(
                getattr(together, name)[i], getattr(alone, name)[0], rtol=ITERATED, atol=ITERATED, msg=name
            )


def test_a_task_is_learned_as_by_train_and_scored_in_evaluation_mode():
    """Running statistics are those of the task that was learned last."""
    network, tasks, seen = normalized(), stream(tasks=2), []
    runs = ng.continual.train_tasks(
        [network],
        tasks,
        learning_rate=0.05,
        stop=ng.continual.Steps(9),
        observe=lambda _, now: seen.append(now(0)),
    )
    for t, task in enumerate(tasks.tasks):
        curve = ng.train(network, task.train, learning_rate=0.05, steps=9)
        torch.testing.assert_close(seen[t + 1].state_dict(), network.state_dict(), rtol=EXACT, atol=EXACT)
        assert not seen[t + 1].training
        assert runs.train_losses[0, t] == pytest.approx(curve.losses[-1], rel=ITERATED)
        network.eval()
        right = network(tasks.tasks[0].test.x).argmax(1) == tasks.tasks[0].test.y.argmax(1)
        assert runs.scores[0, t, 0] == pytest.approx(float(right.double().mean()))
        network.train()


@NETWORKS
def test_networks_that_wait_keep_their_running_statistics(build):
    tasks = [stream(0, n=8), stream(1, n=8)]
    common = {"learning_rate": 0.02, "stop": ng.continual.UntilAccuracy(0.9, at_most=400, every=5)}
    networks = [build(0), build(1)]
    together = ng.continual.train_tasks(networks, tasks, seeds=[5, 6], **common)
    assert together.steps[0].tolist() != together.steps[1].tolist()
    for i in range(2):
        alone = ng.continual.train_tasks([networks[i]], tasks[i], seeds=[5 + i], **common)
        assert together.steps[i].tolist() == alone.steps[0].tolist()
        torch.testing.assert_close(together.scores[i], alone.scores[0], rtol=0, atol=0)


def reward_network(environment, seed=0):
    torch.manual_seed(seed)
    width = 12
    return nn.Sequential(
        nn.Linear(environment.in_features, width),
        nn.BatchNorm1d(width),
        nn.Dropout(0.3),
        nn.ReLU(),
        nn.Linear(width, environment.out_features),
    )


def generator():
    return torch.Generator().manual_seed(1)


POLICIES = {
    "greedy": lambda model, e: EpsilonGreedy(model(), 0.1, generator()),
    "ensemble": lambda model, e: EnsembleTS([model(0), model(1)], generator=generator()),
    "neural linear": lambda model, e: NeuralLinear(model(), e.arms, generator=generator()),
    "ucb": lambda model, e: NeuralUCB(model(), 0.5),
    "laplace": lambda model, e: LaplaceTS(model(), generator=generator()),
}


@pytest.mark.parametrize("encoding", ["outputs", "disjoint"])
@pytest.mark.parametrize("name", POLICIES)
def test_policies_play_the_same_game_twice_with_dropout_and_batch_norm(name, encoding):
    environment = small_game(rounds=25, encoding=encoding)
    training = RewardTraining(steps=5, learning_rate=0.01, every=4, start="current")

    def model(seed=0):
        return RewardModel(reward_network(environment, seed), training, regularization=0.1, generator=generator())

    first = POLICIES[name](model, environment)
    one = untouched(lambda: play(environment, first))
    torch.manual_seed(77)
    two = play(environment, POLICIES[name](model, environment))
    assert one.diverged is None
    assert torch.equal(one.arms, two.arms)
    learner = first.members[0] if name == "ensemble" else first.model
    # Trained with masks and statistics of batches, asked without.
    assert learner.network[1].num_batches_tracked > 0
    assert not any(module.training for module in learner.network.modules())
    inputs = environment.inputs(3)
    if encoding == "disjoint":  # one row an arm
        torch.testing.assert_close(learner.predict(inputs)[:1], learner.predict(inputs[:1]), rtol=1e-5, atol=1e-5)
    assert torch.equal(learner.predict(inputs), learner.predict(inputs))


def test_a_reward_model_is_trained_by_one_example_too():
    environment = small_game(rounds=1)
    model = RewardModel(reward_network(environment), RewardTraining(steps=3, every=1))
    assert model.add(environment.inputs(0), 1, 0.5)
    assert model.network[1].num_batches_tracked == 0
