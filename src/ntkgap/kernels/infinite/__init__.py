"""Infinite width: the kernels of an ordinary torch model in the limit of infinitely many channels."""

from ntkgap.kernels.infinite.limit import InfiniteWidth, InfiniteWidthKernels, infinite_width
from ntkgap.kernels.infinite.monte_carlo import MonteCarloKernel, monte_carlo_kernel

__all__ = ["InfiniteWidth", "InfiniteWidthKernels", "MonteCarloKernel", "infinite_width", "monte_carlo_kernel"]
