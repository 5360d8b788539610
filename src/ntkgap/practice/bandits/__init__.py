"""Contextual bandits: environments, policies, and the runs of one in the other."""

from ntkgap.practice.bandits.environment import Environment
from ntkgap.practice.bandits.policy import Decision, Diverged, Exploration, Policy
from ntkgap.practice.bandits.reward_model import RewardModel, RewardTraining
from ntkgap.practice.bandits.run import BanditRun, play

__all__ = [
    "BanditRun",
    "Decision",
    "Diverged",
    "Environment",
    "Exploration",
    "Policy",
    "RewardModel",
    "RewardTraining",
    "play",
]
