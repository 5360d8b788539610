"""S of the regret bound: against the dense kernel of all contexts and arms, and by scaling."""

import math

import pytest
import torch

import ntkgap as ng
from ntkgap.practice.bandits import Environment, infinite_kernel, norm_bound
from tests.tolerances import ITERATED


def environment(encoding, scale=1.0):
    g = torch.Generator().manual_seed(0)
    contexts = torch.nn.functional.normalize(torch.randn(12, 4, generator=g))
    means = scale * torch.randn(12, 3, generator=g)
    return Environment(contexts, means, means, encoding)


def kernel(env):
    network = ng.MLP(env.in_features, env.out_features, width=8, depth=1, weight_std=2**0.5)
    return infinite_kernel(network.double())


@pytest.mark.parametrize("encoding", ["disjoint", "outputs"])
def test_it_is_the_norm_of_the_mean_rewards_under_the_dense_kernel(encoding):
    env = environment(encoding)
    inputs = [env.inputs(t).double() for t in range(env.rounds)]
    if encoding == "disjoint":
        dense = kernel(env)(torch.cat(inputs), torch.cat(inputs))  # round by round, arm by arm
        h = env.means.double().flatten()
        square = h @ torch.linalg.solve(dense, h)
    else:
        gram = kernel(env)(torch.cat(inputs), torch.cat(inputs))
        square = sum(h @ torch.linalg.solve(gram, h) for h in env.means.double().T)
    found = norm_bound(env, kernel(env))
    assert found == pytest.approx(math.sqrt(2 * float(square)), rel=1e-4)  # jitter of 1e-6 over small eigenvalues
    assert found <= math.sqrt(2 * float(square))  # from below


def test_it_grows_with_the_rewards():
    once, twice = (norm_bound(environment("outputs", s), kernel(environment("outputs"))) for s in (1.0, 2.0))
    assert twice == pytest.approx(2 * once, rel=ITERATED)


def test_contexts_that_come_again_do_no_harm():
    env = environment("outputs")
    twice = Environment(env.contexts.repeat(2, 1), env.means.repeat(2, 1), env.rewards.repeat(2, 1), "outputs")
    assert norm_bound(twice, kernel(env)) == pytest.approx(norm_bound(env, kernel(env)), rel=1e-4)
