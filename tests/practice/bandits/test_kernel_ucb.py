import pytest
import torch

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from ntkgap.practice.bandits import KernelUCB, TabulatedKernelUCB, infinite_kernel, play
from tests.practice.bandits.games import Spy, small_game
from tests.practice.bandits.test_linear_policies import dense_ridge
from tests.tolerances import EXACT, ITERATED


def linear_kernel(x1, x2):
    return x1 @ x2.mT + 1


def test_with_the_linear_kernel_it_is_bayesian_linear_regression():
    """Prior N(0, I) and noise s: mean of a ridge of s, variance s times that of its precision."""

    def check(context, inputs, decision, history):
        mean, variance = dense_ridge(history, context, 3, 0.3)
        assert torch.allclose(decision.mean, mean, atol=ITERATED)
        assert torch.allclose(decision.half_width, 2 * (0.3 * variance).sqrt(), atol=ITERATED)

    play(small_game(), Spy(KernelUCB(linear_kernel, 3, noise=0.3, exploration=lambda t, d: 2.0), check))


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_arms_of_one_network_share_a_process(kind):
    model = ng.MLP(12, 1, 8, 2, weight_std=2**0.5, bias_std=0.2)
    kernel = infinite_kernel(model, kind)
    seen = []

    def gamma(rounds, information):
        seen.append((rounds, information))
        return 1.5

    def check(context, inputs, decision, history):
        own = kernel(inputs.double(), inputs.double()).diagonal()
        mean, variance, information = torch.zeros(3, dtype=torch.float64), own, 0.0
        if history:
            x = torch.stack([i[a] for _, i, a, _ in history]).double()
            r = torch.tensor([r for *_, r in history], dtype=torch.float64)
            gram = kernel(x, x)
            noisy = gram + 0.1 * torch.eye(len(x), dtype=torch.float64)
            cross = kernel(x, inputs.double())
            mean = cross.mT @ torch.linalg.solve(noisy, r)
            variance = own - (cross * torch.linalg.solve(noisy, cross)).sum(0)
            information = float(torch.logdet(noisy / 0.1))
        assert torch.allclose(decision.mean, mean, atol=ITERATED)
        assert torch.allclose(decision.half_width, 1.5 * variance.sqrt(), atol=ITERATED)
        upper = mean + 1.5 * variance.sqrt()
        assert upper[decision.arm] == pytest.approx(float(upper.max()), abs=EXACT)  # arms tie at first
        assert seen[-1] == (len(history), pytest.approx(information, abs=EXACT * 100))

    policy = KernelUCB(kernel, 3, noise=0.1, exploration=gamma)
    play(small_game(rounds=20, encoding="disjoint"), Spy(policy, check))


@pytest.mark.parametrize("encoding", ["disjoint", "outputs"])
def test_means_may_learn_now_and_then(encoding):
    """As those of a network that is trained every 4 rounds; the widths know of all rounds."""
    game = small_game(rounds=15, encoding=encoding)
    kernel = infinite_kernel(ng.MLP(game.in_features, game.out_features, 8, 1, weight_std=2**0.5))

    def check(context, inputs, decision, history):
        mean = torch.zeros(3, dtype=torch.float64)
        for arm in range(3):
            x0 = inputs[0 if encoding == "outputs" else arm].double()[None]
            told = history[: len(history) // 4 * 4]
            own = [(i[0 if encoding == "outputs" else a].double(), r) for _, i, a, r in told
                   if encoding == "disjoint" or a == arm]  # fmt: skip
            if own:
                x, r = torch.stack([x for x, _ in own]), torch.tensor([r for _, r in own], dtype=torch.float64)
                noisy = kernel(x, x) + 0.1 * torch.eye(len(x), dtype=torch.float64)
                mean[arm] = (kernel(x0, x) @ torch.linalg.solve(noisy, r))[0]
        assert torch.allclose(decision.mean, mean, atol=ITERATED)

    policy = KernelUCB(kernel, 3, noise=0.1, exploration=lambda t, d: 1.0, every=4)
    play(game, Spy(policy, check))
    widths = []
    for every in (1, 4):
        policy = KernelUCB(kernel, 3, noise=0.1, exploration=lambda t, d: 1.0, every=every)
        for t, arm in enumerate([0, 1, 2, 0, 1, 2]):  # the same choices
            decision = policy.decide(game.contexts[t], game.inputs(t))
            policy.learn(game.contexts[t], game.inputs(t), arm, float(game.rewards[t, arm]))
        widths.append(decision.half_width)
    assert torch.equal(*widths)


def test_it_learns():
    run = play(small_game(300), KernelUCB(linear_kernel, 3, noise=0.01, exploration=lambda t, d: 1.0))
    assert run.relative_regret < 0.1


@pytest.mark.parametrize("encoding", ["disjoint", "outputs"])
def test_a_table_of_all_rounds_makes_the_same_decisions(encoding):
    game = small_game(rounds=30, encoding=encoding)
    kernel = infinite_kernel(ng.MLP(game.in_features, game.out_features, 8, 2, weight_std=2**0.5, bias_std=0.2))
    one_by_one = KernelUCB(kernel, 3, noise=0.1, exploration=lambda t, d: 1.0)
    decided = []

    def record(context, inputs, decision, history):
        decided.append(decision)

    def compare(context, inputs, decision, history):
        other = decided[len(history)]
        assert decision.arm == other.arm
        assert torch.allclose(decision.mean, other.mean, atol=ITERATED)
        assert torch.allclose(decision.half_width, other.half_width, atol=ITERATED)

    play(game, Spy(one_by_one, record))
    play(game, Spy(TabulatedKernelUCB(game, kernel, noise=0.1, exploration=lambda t, d: 1.0), compare))


@pytest.mark.parametrize("encoding", ["disjoint", "outputs"])
def test_a_number_is_a_constant_schedule(encoding):
    game = small_game(rounds=12, encoding=encoding)
    runs = [
        play(game, KernelUCB(linear_kernel, 3, noise=0.1, exploration=gamma)) for gamma in (0.5, lambda t, d: 0.5)
    ]
    assert torch.equal(runs[0].arms, runs[1].arms)
    assert torch.equal(runs[0].half_width, runs[1].half_width)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"every": 0}, "every must be an integer of at least 1, got 0"),
        ({"every": 2.5}, "every must be an integer of at least 1, got 2.5"),
        ({"arms": 0}, "arms must be an integer"),
        ({"exploration": -1.0}, "exploration must be finite and at least 0"),
        ({"exploration": float("nan")}, "exploration must be finite and at least 0"),
        ({"exploration": "much"}, "exploration must be finite and at least 0.*got 'much'"),
    ],
)
def test_numbers_out_of_range_are_named(changes, words):
    settings = {"arms": 3, "noise": 0.1, "exploration": 1.0} | changes
    with pytest.raises(StudyError, match=words):
        KernelUCB(linear_kernel, **settings)


@pytest.mark.parametrize("arms", [2, 4])
@pytest.mark.parametrize("encoding", ["disjoint", "outputs"])
def test_it_plays_the_arms_that_it_was_built_for(encoding, arms):
    game = small_game(rounds=3, encoding=encoding)
    policy = KernelUCB(linear_kernel, arms, noise=0.1, exploration=1.0)
    with pytest.raises(StudyError, match=f"for {arms} arms, but the environment has 3"):
        play(game, policy)
    if encoding == "disjoint":  # there it shows without the environment too
        with pytest.raises(StudyError, match=f"for {arms} arms, but was asked about inputs of 3"):
            policy.decide(game.contexts[0], game.inputs(0))


def test_what_was_not_decided_is_not_learned():
    game = small_game(rounds=2)
    policy = KernelUCB(linear_kernel, 3, noise=0.1, exploration=1.0)
    x = game.contexts[0], game.inputs(0)
    with pytest.raises(StudyError, match="call decide before each learn"):
        policy.learn(*x, 0, 1.0)
    policy.decide(*x)
    policy.learn(*x, 0, 1.0)
    with pytest.raises(StudyError, match="call decide before each learn"):
        policy.learn(*x, 0, 1.0)


@pytest.mark.parametrize(
    "other",
    [
        small_game(rounds=6, encoding="disjoint", seed=1),  # other contexts
        small_game(rounds=6, encoding="outputs"),  # the same ones, asked about in another way
        small_game(rounds=6, features=5, encoding="disjoint"),
    ],
    ids=["contexts", "encoding", "features"],
)
def test_a_table_is_played_on_its_own_environment(other):
    game = small_game(rounds=6, encoding="disjoint")
    with pytest.raises(StudyError, match="round 1 is not that of the environment of which the table was made"):
        play(other, TabulatedKernelUCB(game, linear_kernel, noise=0.1, exploration=1.0))


def test_a_table_ends():
    game = small_game(rounds=4)
    policy = TabulatedKernelUCB(game, linear_kernel, noise=0.1, exploration=1.0)
    play(game, policy)
    with pytest.raises(StudyError, match="the table is of 4 rounds, which were all played"):
        policy.decide(game.contexts[0], game.inputs(0))


def test_a_network_that_starts_at_zero_has_no_nngp_kernel():
    network = ng.MLP(3, 2, 8, 1, antisymmetric=True)
    with pytest.raises(ModelError, match="nothing could be learned"):
        infinite_kernel(network, "nngp")
    x = torch.randn(4, 3)
    plain = ng.MLP(3, 2, 8, 1)
    assert torch.allclose(infinite_kernel(network)(x, x), infinite_kernel(plain)(x, x))  # tangent kernels are one
