import math

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from ntkgap.practice.bandits import NeuralLinear, RewardModel, RewardTraining, play
from ntkgap.practice.bandits.neural_linear import last_hidden_features
from tests.practice.bandits.games import Spy, small_game
from tests.tolerances import ITERATED


def network(in_features, out_features, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ng.MLP(in_features, out_features, 6, 2, "tanh", bias_std=0.1, generator=generator).double()


@pytest.mark.parametrize("encoding", ["outputs", "disjoint"])
def test_the_posterior_is_conjugate_at_every_round(encoding):
    environment = small_game(rounds=25, encoding=encoding)
    model = RewardModel(
        network(environment.in_features, environment.out_features),
        RewardTraining(steps=3, learning_rate=0.1, every=7),
    )
    policy = NeuralLinear(model, 3, generator=torch.Generator().manual_seed(1))

    def features(inputs):
        hidden = torch.nn.Sequential(*list(model.network.children())[:-1])
        with torch.no_grad():
            return hidden(inputs.double()).expand(3, -1)

    def check(context, inputs, decision, history):
        for arm in range(3):
            rows = [features(i)[a] for _, i, a, _ in history if a == arm]
            r = torch.tensor([r for *_, a, r in history if a == arm], dtype=torch.float64)
            phi = torch.stack(rows) if rows else torch.zeros(0, 6, dtype=torch.float64)
            precision = phi.mT @ phi + 0.25 * torch.eye(6, dtype=torch.float64)
            mu = torch.linalg.solve(precision, phi.mT @ r)
            a, b = 6 + len(r) / 2, 6 + 0.5 * (r @ r - mu @ precision @ mu)
            x = features(inputs)[arm]
            assert decision.mean[arm] == pytest.approx(float(x @ mu), abs=ITERATED)
            variance = b / (a - 1) * (x @ torch.linalg.solve(precision, x))
            assert decision.half_width[arm] == pytest.approx(math.sqrt(variance), abs=ITERATED)

    play(environment, Spy(policy, check))
    assert model.trained == 3


def test_draws_follow_students_distribution():
    """The expected reward of an arm is Student-t, with the noise integrated out."""
    environment = small_game(rounds=20)
    model = RewardModel(network(4, 3), RewardTraining(every=1000))
    policy = NeuralLinear(model, 3, generator=torch.Generator().manual_seed(0))
    play(environment, policy)
    context, inputs = environment.contexts[0], environment.inputs(0)
    n = 3000
    chosen = torch.bincount(torch.tensor([policy.decide(context, inputs).arm for _ in range(n)]), minlength=3) / n
    decision, counts = policy.decide(context, inputs), policy._models(6).counts
    draws = []
    for mean, width, count in zip(decision.mean, decision.half_width, counts, strict=True):
        freedom = 12 + float(count)  # 2a; the scale² is b/a φᵀΛ⁻¹φ
        t = torch.distributions.StudentT(freedom, float(mean), float(width) * math.sqrt((freedom - 2) / freedom))
        torch.manual_seed(int(count))
        draws.append(t.sample((20000,)))
    expected = torch.bincount(torch.stack(draws).argmax(0), minlength=3) / 20000
    assert (chosen - expected).abs().max() < 4 * (0.25 / n + 0.25 / 20000) ** 0.5


def test_features_are_what_the_readout_is_fed():
    net = network(4, 3)
    x = torch.randn(5, 4, dtype=torch.float64)
    phi = last_hidden_features(net, x)
    assert phi.shape == (5, 6)
    assert torch.equal(net[-1](phi), net(x))
    with pytest.raises(ModelError, match="no readout"):
        last_hidden_features(torch.nn.ReLU(), x)


def test_priors_out_of_range_are_named():
    model = RewardModel(network(4, 3), RewardTraining())
    with pytest.raises(StudyError, match="shape must exceed 1"):
        NeuralLinear(model, 3, shape=1.0)
    with pytest.raises(StudyError, match="arms must be an integer of at least 1, got 0"):
        NeuralLinear(model, 0)


@pytest.mark.parametrize("encoding", ["outputs", "disjoint"])
def test_it_plays_the_arms_that_it_was_built_for(encoding):
    game = small_game(rounds=3, encoding=encoding)
    policy = NeuralLinear(RewardModel(network(game.in_features, game.out_features), RewardTraining()), 4)
    with pytest.raises(StudyError, match="for 4 arms, but the environment has 3"):
        play(game, policy)
    if encoding == "disjoint":  # there it shows without the environment too
        with pytest.raises(StudyError, match=r"6 features for 4 arms, but were given features of shape \[3, 6\]"):
            policy.decide(game.contexts[0], game.inputs(0))
