"""Small games that several tests play."""

import torch

from ntkgap.practice.bandits import Environment


def small_game(rounds=40, arms=3, features=4, encoding="outputs", seed=0):
    """Linear rewards with noise."""
    generator = torch.Generator().manual_seed(seed)
    contexts = torch.randn(rounds, features, generator=generator)
    means = contexts @ torch.randn(features, arms, generator=generator)
    rewards = means + 0.1 * torch.randn(rounds, arms, generator=generator)
    return Environment(contexts, means, rewards, encoding)


class Spy:
    """A policy that lets a check look at each decision before the policy learns what came of it."""

    def __init__(self, policy, check):
        self.policy, self.check, self.history = policy, check, []

    def decide(self, context, inputs):
        decision = self.policy.decide(context, inputs)
        self.check(context, inputs, decision, self.history)
        return decision

    def learn(self, context, inputs, arm, reward):
        self.policy.learn(context, inputs, arm, reward)
        self.history.append((context, inputs, arm, reward))

    def diagnose(self):
        return self.policy.diagnose()
