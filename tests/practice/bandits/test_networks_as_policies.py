import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.practice.bandits import EnsembleTS, EpsilonGreedy, RewardModel, RewardTraining, play
from tests.practice.bandits.games import small_game

TRAINING = RewardTraining(steps=60, learning_rate=0.01, every=10, start="current", optimizer="adam", batch_size=32)


def model(environment, seed=0):
    generator = torch.Generator().manual_seed(seed)
    network = ng.MLP(
        environment.in_features, environment.out_features, 32, 1, weight_std=2**0.5, generator=generator
    )
    return RewardModel(network, TRAINING, generator=generator)


@pytest.mark.parametrize("encoding", ["outputs", "disjoint"])
def test_greedy_network_learns(encoding):
    environment = small_game(rounds=200, encoding=encoding)
    run = play(environment, EpsilonGreedy(model(environment), 0.05, torch.Generator().manual_seed(0)))
    assert run.relative_regret < 0.6


def test_epsilon_is_the_part_of_chance():
    environment = small_game(rounds=1)
    context, inputs = environment.contexts[0], environment.inputs(0)
    n = 3000
    for epsilon in (0.0, 0.3, 1.0):
        policy = EpsilonGreedy(model(environment), epsilon, torch.Generator().manual_seed(1))
        best = int(policy.model.predict(inputs).argmax())
        others = sum(policy.decide(context, inputs).arm != best for _ in range(n)) / n
        assert abs(others - epsilon * 2 / 3) <= 4 * (0.25 / n) ** 0.5 * (epsilon > 0)


def test_ensemble_follows_one_member_and_tells_some():
    environment = small_game(rounds=60)
    members = [model(environment, seed) for seed in range(4)]
    policy = EnsembleTS(members, keep=0.5, generator=torch.Generator().manual_seed(2))
    run = play(environment, policy)
    told = [member.seen for member in members]
    assert all(abs(seen - 30) < 4 * 15**0.5 for seen in told)
    assert len(set(told)) > 1
    x, inputs = environment.contexts[0], environment.inputs(0)
    decision = policy.decide(x, inputs)
    found = torch.stack([member.predict(inputs) for member in members])
    assert torch.allclose(decision.mean, found.mean(0))
    assert torch.allclose(decision.half_width, found.std(0))
    assert decision.arm in found.argmax(1).tolist()
    again = EnsembleTS(
        [model(environment, s) for s in range(4)], keep=0.5, generator=torch.Generator().manual_seed(2)
    )
    assert torch.equal(play(environment, again).arms, run.arms)


def test_numbers_out_of_range_are_named():
    environment = small_game(rounds=1)
    with pytest.raises(StudyError, match="epsilon is a probability"):
        EpsilonGreedy(model(environment), 1.5)
    with pytest.raises(StudyError, match="at least 2 members"):
        EnsembleTS([model(environment)])
    with pytest.raises(StudyError, match="at least 2 members"):
        EnsembleTS([model(environment), model(environment)], keep=0.0)
    one, other = model(environment), model(environment)
    with pytest.raises(StudyError, match="a member of the ensemble comes twice"):
        EnsembleTS([one, other, one])
