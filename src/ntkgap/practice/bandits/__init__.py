"""Contextual bandits: environments, policies, and the runs of one in the other."""

from ntkgap.practice.bandits.environment import Environment
from ntkgap.practice.bandits.laplace_policy import LaplacePolicy, LaplaceTS, LaplaceUCB
from ntkgap.practice.bandits.neural import NeuralPolicy, NeuralTS, NeuralUCB
from ntkgap.practice.bandits.policy import Decision, Diverged, Exploration, Policy
from ntkgap.practice.bandits.reward_model import RewardModel, RewardTraining
from ntkgap.practice.bandits.run import BanditRun, play

__all__ = [
    "BanditRun",
    "Decision",
    "Diverged",
    "Environment",
    "Exploration",
    "LaplacePolicy",
    "LaplaceTS",
    "LaplaceUCB",
    "NeuralPolicy",
    "NeuralTS",
    "NeuralUCB",
    "Policy",
    "RewardModel",
    "RewardTraining",
    "play",
]
