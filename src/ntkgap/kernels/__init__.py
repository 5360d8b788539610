"""Kernels of networks, their spectra, and distances between them."""

from ntkgap.kernels.distance import kernel_distance, relative_change, target_alignment
from ntkgap.kernels.duplicates import describe_rows, duplicate_inputs, equal_rows, parallel_rows
from ntkgap.kernels.empirical import (
    CrossOperator,
    Jacobian,
    JacobianChange,
    KernelChange,
    NTKOperator,
    RepeatedJacobian,
    RepeatedKernel,
    as_matrix,
    empirical_ntk,
    empirical_ntk_to_file,
    jacobian,
    plan_ntk,
)
from ntkgap.kernels.evidence import Evidence, EvidenceMaximum
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
from ntkgap.kernels.sequential_posterior import SequentialPosterior
from ntkgap.kernels.spectrum import Spectrum, spectrum

__all__ = [
    "CrossOperator",
    "EstimatedKernels",
    "Evidence",
    "EvidenceMaximum",
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
    "SequentialPosterior",
    "Spectrum",
    "as_matrix",
    "describe_rows",
    "duplicate_inputs",
    "empirical_ntk",
    "empirical_ntk_to_file",
    "equal_rows",
    "infinite_width",
    "infinite_width_monte_carlo",
    "jacobian",
    "kernel_distance",
    "monte_carlo_kernel",
    "parallel_rows",
    "plan_ntk",
    "relative_change",
    "spectrum",
    "target_alignment",
]
