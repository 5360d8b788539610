"""Thompson sampling with an ensemble: in each round one network decides."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.bandits.policy import Decision, Policy
from ntkgap.practice.bandits.reward_model import RewardModel


class EnsembleTS(Policy):
    """M networks, each with its own start and its own part of the data; one drawn at random chooses.

    The pull of a reward model to its own initial parameters makes these its random prior (anchored ensemble).
    The intervals reported are one standard deviation of the members wide to either side of their mean.

    Args:
        members: the networks and their trainings, at least two, with different initial parameters.
        keep: probability that a member is told an observation (online bootstrap).
        generator: source of the draws; torch's global one if not given.

    Raises:
        StudyError: if there are fewer than two members, two of them are one and the same, or the probability is
            out of range.

    Source:
        Osband, Van Roy (2015), Bootstrapped Thompson sampling and deep exploration; Pearce et al. (2020),
        Uncertainty in neural networks: approximately Bayesian ensembling.
    """

    def __init__(
        self, members: Sequence[RewardModel], *, keep: float = 0.8, generator: Generator | None = None
    ) -> None:
        if len(members) < 2 or not 0 < keep <= 1:
            raise StudyError(
                f"an ensemble needs at least 2 members and a probability keep in (0, 1]; got {len(members)} and "
                f"{keep!r}"
            )
        if len({id(member) for member in members}) < len(members):
            raise StudyError(
                "a member of the ensemble comes twice: it would be told everything twice, and agree with itself; "
                "build a RewardModel for each member, with initial parameters of its own"
            )
        self.members, self.keep, self.generator = list(members), keep, generator

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Ask all members, and follow one."""
        found = torch.stack([member.predict(inputs) for member in self.members])
        one = int(torch.randint(len(found), (), generator=self.generator))
        return Decision(self.best(found[one]), found.mean(0), found.std(0))

    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Tell some members."""
        told = torch.rand(len(self.members), generator=self.generator) < self.keep
        for member, is_told in zip(self.members, told.tolist(), strict=True):
            if is_told:
                member.add(inputs, arm, reward)
