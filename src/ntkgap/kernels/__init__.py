"""Kernels of networks, their spectra, and distances between them."""

from ntkgap.kernels.distance import kernel_distance, relative_change, target_alignment
from ntkgap.kernels.empirical import (
    Jacobian,
    JacobianChange,
    KernelChange,
    NTKOperator,
    as_matrix,
    empirical_ntk,
    jacobian,
    plan_ntk,
)
from ntkgap.kernels.spectrum import Spectrum, spectrum

__all__ = [
    "Jacobian",
    "JacobianChange",
    "KernelChange",
    "NTKOperator",
    "Spectrum",
    "as_matrix",
    "empirical_ntk",
    "jacobian",
    "kernel_distance",
    "plan_ntk",
    "relative_change",
    "spectrum",
    "target_alignment",
]
