"""Kernels of networks, and how far two of them are apart."""

from typing import TYPE_CHECKING

from ntkgap import names
from ntkgap.kernels.distance import jacobian_change, kernel_distance, relative_change, target_alignment
from ntkgap.kernels.empirical import (
    CrossOperator,
    Jacobian,
    JacobianChange,
    KernelChange,
    NTKOperator,
    RepeatedJacobian,
    RepeatedKernel,
    empirical_ntk,
    empirical_ntk_to_file,
    jacobian,
    plan_ntk,
)
from ntkgap.kernels.infinite import (
    EstimatedKernels,
    InfiniteWidth,
    InfiniteWidthKernels,
    MonteCarloKernel,
    MonteCarloLimit,
    infinite_width,
    infinite_width_monte_carlo,
    monte_carlo_kernel,
)

__all__ = [
    "CrossOperator",
    "EstimatedKernels",
    "InfiniteWidth",
    "InfiniteWidthKernels",
    "Jacobian",
    "JacobianChange",
    "KernelChange",
    "MonteCarloKernel",
    "MonteCarloLimit",
    "NTKOperator",
    "RepeatedJacobian",
    "RepeatedKernel",
    "empirical_ntk",
    "empirical_ntk_to_file",
    "infinite_width",
    "infinite_width_monte_carlo",
    "jacobian",
    "jacobian_change",
    "kernel_distance",
    "monte_carlo_kernel",
    "plan_ntk",
    "relative_change",
    "target_alignment",
]

if not TYPE_CHECKING:  # type checkers are to see the names that are here
    __getattr__ = names.moved_out_of("kernels")
