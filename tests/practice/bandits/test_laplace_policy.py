"""Laplace bandits against the dense posterior and evidence of the linearized network."""

import math

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.practice.bandits import LaplaceTS, LaplaceUCB, NeuralUCB, RewardModel, RewardTraining, play
from tests.practice.bandits.dense import DenseGame, flat, game, reward_model, values_and_gradients
from tests.practice.bandits.test_neural_ucb import CLOSE, _rounds


def _dense_std(dense, inputs, precision, noise):
    """√(gᵀ(δI + JᵀJ/σ²)⁻¹g) at the present parameters."""
    g = values_and_gradients(dense.model.network, inputs)[1]
    j = dense.gradients("current")
    hessian = precision * torch.eye(g.shape[1], dtype=torch.float64) + j.mT @ j / noise
    return ((g @ torch.linalg.inv(hessian)) * g).sum(1).sqrt()


@pytest.mark.parametrize("encoding", ["disjoint", "outputs"])
def test_fixed_hyperparameters_give_the_dense_posterior(encoding):
    environment = game(encoding, rounds=16)
    policy = LaplaceUCB(reward_model(environment), scale=1.5, prior_precision=2.0, noise_variance=0.25)
    for _, inputs, dense, decision in _rounds(environment, policy):
        std = _dense_std(dense, inputs, 2.0, 0.25)
        torch.testing.assert_close(decision.half_width, 1.5 * std, **CLOSE)
        assert decision.arm == int((decision.mean + decision.half_width).argmax())
    assert policy.model.regularization == 0.5
    assert math.isnan(policy.log_evidence)


@pytest.mark.parametrize("fixed", [{}, {"noise_variance": 0.04}])
def test_evidence_is_maximized_online(fixed):
    environment = game("outputs", rounds=16)
    policy = LaplaceUCB(reward_model(environment, learning_rate=0.05), evidence_every=6, **fixed)
    path = []
    for _, inputs, dense, decision in _rounds(environment, policy):
        std = _dense_std(dense, inputs, policy.prior_precision, policy.noise_variance)
        torch.testing.assert_close(decision.half_width, std, **CLOSE)
        path.append((policy.prior_precision, policy.noise_variance))
    assert len(set(path)) == 3  # rounds 6 and 12; nothing was known before
    assert policy.model.regularization == pytest.approx(policy.prior_precision * policy.noise_variance)
    if fixed:
        assert {noise for _, noise in path} == {0.04}


def test_noise_is_sought_within_its_bounds():
    """Of rewards without noise the evidence says that there is none, unless it is bounded."""
    environment = game("outputs", rounds=24)
    scale = environment.rewards.square().mean()

    def fitted(**settings):
        policy = LaplaceUCB(reward_model(environment, every=24, learning_rate=0.05), **settings)
        run = play(environment, policy)
        paid = run.rewards.double().square().mean()
        return policy, policy.noise_variance / float(paid)

    free, least = fitted()
    bounded, part = fitted(noise_bounds=(10 * least, 100 * least))
    assert part == pytest.approx(10 * least, rel=1e-3)
    assert bounded.at_edge
    assert bounded.log_evidence < free.log_evidence
    assert scale > 0
    with pytest.raises(StudyError, match="noise_bounds"):
        LaplaceUCB(reward_model(environment), noise_bounds=(1.0, 0.1))


def test_the_evidence_is_that_of_the_linearized_network():
    environment = game("outputs", rounds=24)
    model = reward_model(environment, every=24, learning_rate=0.05)
    policy = LaplaceUCB(model)
    run = play(environment, policy)
    dense = DenseGame(environment, model)
    for t, arm in enumerate(run.arms.tolist()):
        dense.note(t, arm)
    values, j = dense.seen(model.network)
    residual = torch.tensor(dense.rewards, dtype=torch.float64) - values
    residual = residual + j @ (flat(model.network) - flat(model.initial))

    def log_evidence(precision, noise):
        covariance = j @ j.mT / precision + noise * torch.eye(24, dtype=torch.float64)
        zero = torch.zeros(24, dtype=torch.float64)
        return float(torch.distributions.MultivariateNormal(zero, covariance).log_prob(residual))

    best = log_evidence(policy.prior_precision, policy.noise_variance)
    assert policy.log_evidence == pytest.approx(best, rel=1e-6)
    for a, b in [(1.2, 1), (1 / 1.2, 1), (1, 1.2), (1, 1 / 1.2)]:
        assert log_evidence(policy.prior_precision * a, policy.noise_variance * b) < best + 1e-3


def test_it_is_neural_ucb_with_another_schedule():
    environment = game("disjoint", rounds=16)
    laplace = LaplaceUCB(reward_model(environment), prior_precision=2.0, noise_variance=0.25)
    neural = NeuralUCB(reward_model(environment, regularization=0.5), 0.5, at="current")  # λ = δσ², γ = σ
    runs = [play(environment, policy) for policy in (laplace, neural)]
    assert torch.equal(runs[0].arms, runs[1].arms)
    torch.testing.assert_close(runs[0].half_width, runs[1].half_width, **CLOSE)


def test_thompson_draws_follow_the_posterior():
    environment = game("outputs", rounds=16)
    fixed = {"prior_precision": 2.0, "noise_variance": 0.25}
    policy = LaplaceTS(reward_model(environment), generator=torch.Generator().manual_seed(0), **fixed)
    mean, width = torch.tensor([0.5, 0.0], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    wins = sum(policy.choose(mean, width).arm == 0 for _ in range(4000)) / 4000
    expected = 0.5 * (1 + math.erf(0.5 / math.sqrt(2 * 0.5**2) / math.sqrt(2)))  # Φ(0.5/√(2σ²)), σ = ½
    assert abs(wins - expected) < 4 * math.sqrt(expected * (1 - expected) / 4000)
    assert math.isfinite(play(environment, policy, diagnose_at=(16,)).diagnoses["noise_variance"][0])


def test_refusals():
    environment = game("outputs", rounds=16)
    with pytest.raises(StudyError, match="prior_precision must be positive"):
        LaplaceUCB(reward_model(environment), prior_precision=0.0)
    with pytest.raises(StudyError, match="evidence_every"):
        LaplaceUCB(reward_model(environment), evidence_every=0)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_the_penalty_never_makes_a_layer_overshoot_whatever_the_outputs_scale(alpha):
    """Learning rates are divided by α²; the step must know, or the prior alone throws the parameters out."""
    network = ng.MLP(4, 2, 16, 1, weight_std=2**0.5, alpha=alpha, antisymmetric=True)
    model = RewardModel(network, RewardTraining(steps=200, learning_rate=1.0, every=3), regularization=1.0)
    for t in range(6):
        model.add(torch.randn(1, 4), t % 2, 0.5)
    assert model.step_size * model.regularization / model.seen / alpha**2 <= 1
    moved = sum(
        (p - q).square().sum() for p, q in zip(model.network.parameters(), model.initial.parameters(), strict=True)
    )
    assert moved.isfinite()
    assert moved < 10
