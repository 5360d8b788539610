"""Arms that look equally good: one at random, so that the order of the arms decides no game."""

import math

import pytest
import scipy.stats
import torch

import ntkgap as ng
from ntkgap.errors import DataError, StudyError
from ntkgap.practice.bandits import (
    Environment,
    EpsilonGreedy,
    LaplaceUCB,
    LinUCB,
    RewardModel,
    RewardTraining,
    make_environment,
    play,
)
from tests.practice.bandits.games import small_game


def drawn(values, n=600):
    """How often each arm is the best of these values."""
    policy = LinUCB(len(values), 1)
    policy.ties = torch.Generator().manual_seed(0)
    return torch.bincount(torch.tensor([policy.best(values) for _ in range(n)]), minlength=len(values))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_go_to_all_alike(dtype):
    rounding = torch.finfo(dtype).eps
    found = drawn(torch.tensor([3.0, 3.0 * (1 + 2 * rounding), 1.0, 3.0], dtype=dtype))
    assert found[2] == 0
    assert scipy.stats.chisquare(found[[0, 1, 3]]).pvalue > 1e-3
    assert (drawn(torch.zeros(3, dtype=dtype)) > 0).all()


def test_what_is_larger_by_more_than_rounding_is_chosen_always():
    assert drawn(torch.tensor([1.0, 1.0 + 1e-5])).tolist() == [0, 600]
    assert drawn(torch.tensor([1e12, 1e12 + 1.0], dtype=torch.float64)).tolist() == [0, 600]
    assert drawn(torch.tensor([5.0, math.inf, -math.inf])).tolist() == [0, 600, 0]
    assert (drawn(torch.tensor([math.inf, 5.0, math.inf])) > 0).tolist() == [True, False, True]


def test_a_game_is_a_function_of_its_seed():
    # Nothing is learned before the last round: every choice is a tie.
    arms = [play(small_game(), LinUCB(3, 4, alpha=0.0, every=40), seed=seed).arms for seed in (0, 0, 1)]
    assert torch.equal(arms[0], arms[1])
    assert not torch.equal(arms[0], arms[2])
    assert (torch.bincount(arms[0], minlength=3) > 0).all()


def greedy_linear(environment):
    return LinUCB(environment.arms, 1, alpha=0.0, every=5)


def greedy_network(environment):
    generator = torch.Generator().manual_seed(0)
    network = ng.MLP(1, environment.arms, 8, 1, antisymmetric=True, generator=generator)
    return EpsilonGreedy(RewardModel(network, RewardTraining(steps=5, learning_rate=0.5, every=5)), 0.0)


@pytest.mark.parametrize(("build", "games"), [(greedy_linear, 60), (greedy_network, 30)])
def test_relabeling_arms_leaves_the_distribution_of_regret_alone(build, games):
    """Arm 0 pays nothing: a rule that takes it while nothing is known learns nothing, for ever."""
    means = torch.tensor([0.0, 0.3, 0.6, 1.0]).expand(15, 4)
    environment = Environment(torch.ones(15, 1), means, means, "outputs")
    regrets = [
        [float(play(e, build(e), seed=seed).regret[-1]) for seed in range(games)]
        for e in (environment, environment.reordered([3, 2, 1, 0]), environment.reordered([2, 0, 3, 1]))
    ]
    assert len(set(regrets[0])) > 5  # the games do differ
    for other in regrets[1:]:
        assert scipy.stats.ks_2samp(regrets[0], other).pvalue > 1e-3


def test_the_order_of_arms_decides_no_greedy_game():
    """Arm 9 pays mostly, arm 0 never. Ties for arm 0 gave 1.11 of uniform regret in this order, 0.3 reversed."""
    train, _ = ng.load_data("digits", n_train=1000, n_test=30, seed=0)
    classes = train.y.argmax(1)
    rare = [(classes == k).nonzero().flatten()[:2] for k in range(1, 9)]
    few = torch.cat([(classes == 9).nonzero().flatten()[:45], *rare])
    data = ng.Dataset(train.x[few], train.y[few], 10)
    given = make_environment(data, features="unit_norm", encoding="outputs", seed=0)
    training = RewardTraining(steps=15, learning_rate=0.5, every=10)

    def regret(environment, seed):
        generator = torch.Generator().manual_seed(seed)
        model = RewardModel(ng.MLP(64, 10, 16, 1, antisymmetric=True, generator=generator), training)
        return play(
            environment, LaplaceUCB(model, scale=0.0, prior_precision=1.0, noise_variance=0.1), seed=seed
        ).relative_regret

    as_given, as_reversed = (
        [regret(environment, seed) for seed in range(4)]
        for environment in (given, given.reordered(range(10)[::-1]))
    )
    assert scipy.stats.ttest_ind(as_given, as_reversed, equal_var=False).pvalue > 1e-3
    assert abs(sum(as_given) - sum(as_reversed)) / 4 < 0.5


def test_initial_pulls_are_of_every_arm_and_are_learned_from():
    environment = small_game(rounds=20)
    policy = LinUCB(3, 4)
    arms = play(environment, policy, initial_pulls=2, seed=5).arms
    for block in (arms[:3], arms[3:6]):
        assert sorted(block.tolist()) == [0, 1, 2]
    assert policy.models.counts.tolist() == torch.bincount(arms, minlength=3).tolist()
    orders = {tuple(play(environment, LinUCB(3, 4), initial_pulls=1, seed=s).arms[:3].tolist()) for s in range(20)}
    assert len(orders) > 1
    assert play(environment, LinUCB(3, 4), initial_pulls=6).arms[:18].bincount().tolist() == [6, 6, 6]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"initial_pulls": -1}, "initial_pulls must be an integer of at least 0, got -1"),
        ({"initial_pulls": 1.5}, "initial_pulls must be an integer"),
        ({"initial_pulls": True}, "initial_pulls must be an integer"),
        ({"initial_pulls": 7}, "initial_pulls=7 of 3 arms take 21 rounds, but the game has 20; lower"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"seed": 0.5}, "seed must be an integer of at least 0"),
    ],
)
def test_pulls_and_seeds_out_of_range(settings, words):
    policy = LinUCB(3, 4)
    with pytest.raises(StudyError, match=words):
        play(small_game(rounds=20), policy, **settings)
    assert not policy.played


def test_arms_are_reordered_with_what_they_pay():
    environment = small_game()
    other = environment.reordered([2, 0, 1])
    assert torch.equal(other.means[:, 0], environment.means[:, 2])
    assert torch.equal(other.rewards[:, 1], environment.rewards[:, 0])
    assert torch.equal(other.contexts, environment.contexts)
    for order in ([0, 1], [0, 1, 1], [0, 1, 3]):
        with pytest.raises(DataError, match="each of the arms 0 to 2 once"):
            environment.reordered(order)
