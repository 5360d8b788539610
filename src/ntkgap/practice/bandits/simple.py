"""Policies without a measure of uncertainty: chance, and a network with chance now and then."""

import torch
from torch import Generator, Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.bandits.policy import Decision, Policy
from ntkgap.practice.bandits.reward_model import RewardModel
from ntkgap.practice.checks import check_count


class UniformPolicy(Policy):
    """Every arm with equal chances: what all regret is measured by.

    Args:
        arms: K.
        generator: source of the choices; torch's global one if not given.

    Raises:
        StudyError: if K is no integer of at least 1.
    """

    arms: int

    def __init__(self, arms: int, generator: Generator | None = None) -> None:
        check_count("arms", arms)
        self.arms, self.generator = arms, generator

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Draw an arm."""
        return Decision(int(torch.randint(self.arms, (), generator=self.generator)))

    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Nothing is learned."""


class EpsilonGreedy(Policy):
    """The arm that a network expects most of; with probability ε any arm. ε = 0 is the greedy policy.

    Args:
        model: the network and its training.
        epsilon: ε, from 0 to 1.
        generator: source of the choices; torch's global one if not given.

    Raises:
        StudyError: if ε is out of range.
    """

    def __init__(self, model: RewardModel, epsilon: float = 0.05, generator: Generator | None = None) -> None:
        if not 0 <= epsilon <= 1:
            raise StudyError(f"epsilon is a probability between 0 and 1, got {epsilon!r}")
        self.model, self.epsilon, self.generator = model, epsilon, generator

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Ask the network, or chance."""
        mean = self.model.predict(inputs)
        # Both numbers are drawn in every round: policies that differ in ε alone see the same chances.
        explore = float(torch.rand((), generator=self.generator)) < self.epsilon
        other = int(torch.randint(len(mean), (), generator=self.generator))
        return Decision(other if explore else self.best(mean), mean)

    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Tell the network."""
        self.model.add(inputs, arm, reward)
