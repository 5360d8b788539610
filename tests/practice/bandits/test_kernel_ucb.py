import pytest
import torch

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from ntkgap.practice.bandits import KernelUCB, TabulatedKernelUCB, infinite_kernel, play
from tests.practice.bandits.games import Spy, small_game
from tests.practice.bandits.test_linear import dense_ridge
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
        assert decision.arm == int((mean + 1.5 * variance.sqrt()).argmax())
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
    with pytest.raises(StudyError, match="every must be at least 1"):
        KernelUCB(kernel, 3, noise=0.1, exploration=lambda t, d: 1.0, every=0)


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


def test_a_network_that_starts_at_zero_has_no_nngp_kernel():
    network = ng.MLP(3, 2, 8, 1, antisymmetric=True)
    with pytest.raises(ModelError, match="nothing could be learned"):
        infinite_kernel(network, "nngp")
    x = torch.randn(4, 3)
    plain = ng.MLP(3, 2, 8, 1)
    assert torch.allclose(infinite_kernel(network)(x, x), infinite_kernel(plain)(x, x))  # tangent kernels are one
