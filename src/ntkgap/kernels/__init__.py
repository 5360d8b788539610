"""Kernels of networks, their spectra, and distances between them."""

from ntkgap.kernels.distance import kernel_distance, relative_change, target_alignment
from ntkgap.kernels.empirical import Jacobian, as_matrix, empirical_ntk, jacobian
from ntkgap.kernels.spectrum import Spectrum, spectrum

__all__ = [
    "Jacobian",
    "Spectrum",
    "as_matrix",
    "empirical_ntk",
    "jacobian",
    "kernel_distance",
    "relative_change",
    "spectrum",
    "target_alignment",
]
