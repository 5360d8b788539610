"""Infinite width: the kernels of an ordinary torch model in the limit of infinitely many channels."""

from ntkgap.kernels.infinite.limit import InfiniteWidth, InfiniteWidthKernels, infinite_width
from ntkgap.kernels.infinite.monte_carlo import MonteCarloKernel, monte_carlo_kernel
from ntkgap.kernels.infinite.monte_carlo_limit import EstimatedKernels, MonteCarloLimit, infinite_width_monte_carlo

__all__ = [
    "EstimatedKernels",
    "InfiniteWidth",
    "InfiniteWidthKernels",
    "MonteCarloKernel",
    "MonteCarloLimit",
    "infinite_width",
    "infinite_width_monte_carlo",
    "monte_carlo_kernel",
]
