"""Contextual bandits: environments, policies, and the runs of one in the other."""

from ntkgap.practice.bandits.classification import classification_environment
from ntkgap.practice.bandits.environment import Environment
from ntkgap.practice.bandits.making import make_environment
from ntkgap.practice.bandits.policy import Decision, Diverged, Exploration, Policy
from ntkgap.practice.bandits.reward_model import RewardModel, RewardTraining
from ntkgap.practice.bandits.run import BanditRun, play
from ntkgap.practice.bandits.wheel import wheel_environment

__all__ = [
    "BanditRun",
    "Decision",
    "Diverged",
    "Environment",
    "Exploration",
    "Policy",
    "RewardModel",
    "RewardTraining",
    "classification_environment",
    "make_environment",
    "play",
    "wheel_environment",
]
