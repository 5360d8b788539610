"""Contextual bandits: environments, policies, and the runs of one in the other."""

from ntkgap.practice.bandits.ensemble_policy import EnsembleTS
from ntkgap.practice.bandits.environment import Environment
from ntkgap.practice.bandits.kernel_ucb import KernelUCB, TabulatedKernelUCB, infinite_kernel
from ntkgap.practice.bandits.laplace_policy import LaplacePolicy, LaplaceTS, LaplaceUCB
from ntkgap.practice.bandits.linear_policies import LinTS, LinUCB
from ntkgap.practice.bandits.making import classification_environment, make_environment, wheel_environment
from ntkgap.practice.bandits.neural_linear import NeuralLinear
from ntkgap.practice.bandits.neural_ucb import NeuralPolicy, NeuralTS, NeuralUCB
from ntkgap.practice.bandits.norm_bound import norm_bound
from ntkgap.practice.bandits.play import BanditRun, play
from ntkgap.practice.bandits.policy import Decision, Diverged, Exploration, Policy
from ntkgap.practice.bandits.reward_model import RewardModel, RewardTraining
from ntkgap.practice.bandits.simple import EpsilonGreedy, UniformPolicy

__all__ = [
    "BanditRun",
    "Decision",
    "Diverged",
    "EnsembleTS",
    "Environment",
    "EpsilonGreedy",
    "Exploration",
    "KernelUCB",
    "LaplacePolicy",
    "LaplaceTS",
    "LaplaceUCB",
    "LinTS",
    "LinUCB",
    "NeuralLinear",
    "NeuralPolicy",
    "NeuralTS",
    "NeuralUCB",
    "Policy",
    "RewardModel",
    "RewardTraining",
    "TabulatedKernelUCB",
    "UniformPolicy",
    "classification_environment",
    "infinite_kernel",
    "make_environment",
    "norm_bound",
    "play",
    "wheel_environment",
]
