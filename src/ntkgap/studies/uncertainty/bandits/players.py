"""From the name of an exploration rule to the policy that plays it."""

from torch import Generator, nn

from ntkgap.practice.bandits import (
    EnsembleTS,
    Environment,
    GreedyPolicy,
    KernelUCB,
    LaplaceTS,
    LaplaceUCB,
    LinTS,
    LinUCB,
    NeuralLinear,
    NeuralTS,
    NeuralUCB,
    Policy,
    RewardModel,
)
