"""Neural bandits in Gram form against explicit gradients and P × P matrices, round by round."""

import math

import pytest
import torch

from ntkgap.errors import StudyError
from ntkgap.practice.bandits import NeuralTS, NeuralUCB, RewardTraining, play
from ntkgap.theory import InfiniteWidthExploration
from tests.practice.bandits.dense import DenseGame, flat, game, reward_model, values_and_gradients
from tests.tolerances import ITERATED

CLOSE = {"rtol": ITERATED, "atol": ITERATED}
ENCODINGS = ["disjoint", "outputs"]


def _rounds(environment, policy):
    """Plays, yielding before each choice what dense algebra needs."""
    dense = DenseGame(environment, policy.model)
    for t in range(environment.rounds):
        context, inputs = environment.contexts[t], environment.inputs(t)
        decision = policy.decide(context, inputs)
        yield t, inputs, dense, decision
        dense.note(t, decision.arm)
        policy.learn(context, inputs, decision.arm, float(environment.rewards[t, decision.arm]))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("at", ["selection", "initial", "current"])
@pytest.mark.parametrize("factor", [1.0, 6.0])
def test_upper_bounds_equal_dense_algebra_in_every_round(encoding, at, factor):
    environment = game(encoding).normalized()
    model = reward_model(environment)
    schedule = InfiniteWidthExploration(0.1, 0.1, 1.0, 0.3 / factor)
    policy = NeuralUCB(model, schedule, at=at, width_factor=factor)
    for t, inputs, dense, decision in _rounds(environment, policy):
        z = dense.z(at, 0.3 / factor, factor)
        mean, g = values_and_gradients(model.network, inputs)
        if at == "initial":
            g = values_and_gradients(model.initial, inputs)[1]
        gamma = schedule(t, float(torch.logdet(z * factor / 0.3)))
        half_width = gamma * ((g @ torch.linalg.inv(z)) * g).sum(1).div(factor).sqrt()
        torch.testing.assert_close(decision.half_width, half_width, **CLOSE)
        torch.testing.assert_close(decision.mean, mean, **CLOSE)
        assert decision.arm == int((mean + half_width).argmax())


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("at", ["selection", "initial", "current"])
def test_diagonal_is_the_diagonal_of_the_dense_matrix(encoding, at):
    environment = game(encoding)
    model = reward_model(environment)
    policy = NeuralUCB(model, lambda t, log_determinant: 1 + log_determinant, at=at, design="diagonal")
    for _, inputs, dense, decision in _rounds(environment, policy):
        z = dense.z(at, 0.3).diagonal()
        g = values_and_gradients(model.initial if at == "initial" else model.network, inputs)[1]
        half_width = (1 + float((z / 0.3).log().sum())) * (g.square() / z).sum(1).sqrt()
        torch.testing.assert_close(decision.half_width, half_width, **CLOSE)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("start", ["initial", "current"])
def test_linearized_mean_is_gradient_descent_in_parameter_space(encoding, start):
    environment = game(encoding)
    model = reward_model(environment, start=start, learning_rate=0.05)
    policy = NeuralUCB(model, 1.0, mean="linearized")
    change = torch.zeros_like(flat(model.initial))
    for t, inputs, dense, decision in _rounds(environment, policy):
        if t and t % 3 == 0:  # the network was just trained
            values, g = dense.seen(model.initial)
            residual = values - torch.tensor(dense.rewards, dtype=torch.float64)
            change = torch.zeros_like(change) if start == "initial" else change
            for _ in range(20):
                change = change - 0.05 / t * (g.mT @ (g @ change + residual) + 0.3 * change)
        values, g = values_and_gradients(model.initial, inputs)
        torch.testing.assert_close(decision.mean, values + g @ change, **CLOSE)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_kernel_ridge_mean_is_the_regularized_optimum(encoding):
    environment = game(encoding)
    model = reward_model(environment)
    policy = NeuralUCB(model, 1.0, mean="kernel_ridge", at="initial")
    for t, inputs, dense, decision in _rounds(environment, policy):
        values, g = values_and_gradients(model.initial, inputs)
        if t:
            seen, j = dense.seen(model.initial)
            residual = torch.tensor(dense.rewards, dtype=torch.float64) - seen
            values = values + g @ torch.linalg.solve(dense.z("initial", 0.3), j.mT @ residual)
        torch.testing.assert_close(decision.mean, values, **CLOSE)


def test_thompson_draws_have_the_moments_of_the_posterior(generator):
    environment = game("outputs")
    model = reward_model(environment)
    policy = NeuralTS(model, 2.0, generator=generator)
    _ = [None for _ in _rounds(environment, policy)]
    mean, width = torch.zeros(3, dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    half_width = policy.choose(mean, width).half_width
    torch.testing.assert_close(half_width, 2.0 * math.sqrt(0.3) * width, **CLOSE)
    # Two arms of equal means: one with deviation σ₁ is drawn above the other with σ₂ half of the times; raised
    # by Φ⁻¹(0.975)·√(σ₁² + σ₂²) it is in 97.5 % of them.
    std = 2.0 * math.sqrt(0.3)
    lead = 1.959964 * std * math.sqrt(1 + 4)
    raised, pair = torch.tensor([lead, 0.0], dtype=torch.float64), width[:2]
    n = 4000
    wins = sum(policy.choose(raised, pair).arm == 0 for _ in range(n)) / n
    assert abs(wins - 0.975) < 4 * math.sqrt(0.975 * 0.025 / n)
    pair_of = [NeuralTS(reward_model(environment), 2.0, generator=torch.Generator().manual_seed(5)) for _ in "ab"]
    arms = [[p.choose(mean, width).arm for _ in range(20)] for p in pair_of]
    assert arms[0] == arms[1]


def test_diagnoses_measure_the_distance_to_the_linearization():
    environment = game("outputs")
    model = reward_model(environment)
    policy = NeuralUCB(model, 0.5)
    run = play(environment, policy, diagnose_at=(2, 10))
    first, last = ({name: values[k] for name, values in run.diagnoses.items()} for k in (0, 1))
    assert first["kernel_drift"] == first["parameter_drift"] == 0  # not yet trained
    assert math.isnan(first["linearization_error"])
    dense = DenseGame(environment, model)
    for t, arm in enumerate(run.arms.tolist()):
        dense.note(t, arm)
    (f0, g0), (f, g) = dense.seen(model.initial), dense.seen(model.network)
    step = flat(model.network) - flat(model.initial)
    assert last["parameter_drift"] == pytest.approx(float(step.norm()), rel=ITERATED)
    assert last["relative_parameter_drift"] == pytest.approx(float(step.norm() / flat(model.initial).norm()))
    k, k0 = g @ g.mT, g0 @ g0.mT
    assert last["kernel_drift"] == pytest.approx(float((k - k0).norm() / k0.norm()), rel=ITERATED)
    error = (f - f0 - g0 @ step).norm() / (f - f0).norm()
    assert last["linearization_error"] == pytest.approx(float(error), rel=ITERATED)
    assert last["exploration"] == 0.5
    assert last["log_determinant"] > first["log_determinant"] > 0


def test_a_float32_network_has_float64_widths():
    environment = game("disjoint", rounds=12)
    model = reward_model(environment, every=100)
    model.network.float(), model.initial.float()
    single = NeuralUCB(model, 1.0)
    *_, (_, _, dense, _) = _rounds(environment, single)
    rows = torch.stack(dense.at_selection)  # the reference casts the network to float64 as it is
    expected = torch.logdet(torch.eye(12, dtype=torch.float64) + rows @ rows.mT / 0.3)
    assert single.design.log_determinant() == pytest.approx(float(expected), rel=ITERATED)


@pytest.mark.parametrize("design", ["full", "diagonal"])
def test_a_diverging_training_is_reported(design):
    environment = game("outputs")
    policy = NeuralUCB(reward_model(environment, learning_rate=1e6, steps=200), 1.0, design=design)
    run = play(environment, policy)
    assert run.diverged is not None
    assert run.diverged.startswith("round 3")
    assert math.isinf(run.relative_regret)


def test_numbers_out_of_all_bounds_are_a_divergence_too():
    """Adam's steps have the size of its learning rate: outputs grow, and stay finite."""
    environment = game("outputs")
    policy = NeuralUCB(reward_model(environment, learning_rate=1e5, optimizer="adam"), 1.0)
    run = play(environment, policy)
    assert run.diverged is not None
    assert "mean squared error" in run.diverged
    assert math.isinf(run.relative_regret)


def test_presets():
    environment = game("disjoint")
    paper = NeuralUCB.paper_faithful(reward_model(environment, every=1), 0.1, width_factor=6.0)
    assert paper.design.regularization == pytest.approx(0.05)
    with pytest.raises(StudyError, match="every round from θ₀"):
        NeuralUCB.paper_faithful(reward_model(environment, every=2), 0.1)
    released = NeuralUCB.released_code(reward_model(environment, start="current"), nu=4.0, regularization=0.01)
    for _, inputs, dense, decision in _rounds(environment, released):
        u = 0.01 + dense.gradients("selection").square().sum(0)
        g = values_and_gradients(released.model.network, inputs)[1]
        bonus = (0.01 * 4.0 * g.square() / u).sum(1).sqrt()
        torch.testing.assert_close(decision.half_width, bonus, **CLOSE)
    with pytest.raises(StudyError, match="start='current'"):
        NeuralUCB.released_code(reward_model(environment))


def test_refusals():
    environment = game("disjoint")
    with pytest.raises(StudyError, match="give the RewardModel a regularization"):
        NeuralUCB(reward_model(environment, regularization=0.0), 1.0)
    with pytest.raises(StudyError, match="full-batch gradient descent"):
        NeuralUCB(reward_model(environment, optimizer="adam"), 1.0, mean="linearized")
    with pytest.raises(StudyError, match="at must be"):
        NeuralUCB(reward_model(environment), 1.0, at="never")
    with pytest.raises(StudyError, match="design must be"):
        NeuralUCB(reward_model(environment), 1.0, design="block")
    with pytest.raises(StudyError, match="exploration must be"):
        NeuralTS(reward_model(environment), -1.0)
    with pytest.raises(StudyError, match="width_factor"):
        NeuralUCB(reward_model(environment), 1.0, width_factor=0.0)


@pytest.mark.parametrize("settings", [{"optimizer": "rmsprop"}, {"start": "middle"}, {"every": 2.5}, {"every": 0}])
def test_training_that_is_none_is_refused(settings):
    with pytest.raises(StudyError, match=next(iter(settings))):
        RewardTraining(**settings)


def test_a_model_belongs_to_one_policy():
    environment = game("outputs")
    model = reward_model(environment)
    one, other = NeuralUCB(model, 1.0), NeuralUCB(model, 1.0)
    context, inputs = environment.contexts[0], environment.inputs(0)
    one.learn(context, inputs, 0, 1.0)
    with pytest.raises(StudyError, match="another policy"):
        other.learn(context, inputs, 0, 1.0)
    with pytest.raises(StudyError, match="learned from 1 rounds"):
        NeuralUCB(model, 1.0)


def test_the_papers_algorithm_and_its_schedules_insist_on_unit_norm():
    environment = game("outputs")
    paper = NeuralUCB.paper_faithful(reward_model(environment, every=1), 0.1)
    with pytest.raises(StudyError, match="norm 1"):
        play(environment, paper)
    schedule = InfiniteWidthExploration(nu=0.1, delta=0.1, norm_bound=1.0, regularization=1.0)
    with pytest.raises(StudyError, match="norm 1"):
        play(environment, NeuralUCB(reward_model(environment), schedule))
    play(environment.normalized(), NeuralUCB(reward_model(environment), schedule))


def test_exploring_by_gradients_learns_what_arms_pay():
    environment = game("disjoint", rounds=120)
    model = reward_model(environment, regularization=0.1, every=120)  # the network itself is not used
    run = play(environment, NeuralUCB(model, 0.3, mean="kernel_ridge", at="initial"))
    assert run.relative_regret < 0.4
