"""Scalar nonlinearities between infinitely wide layers: the Gaussian expectations that the kernels need."""

from ntkgap.kernels.infinite.activations.base import Activation
from ntkgap.kernels.infinite.activations.probing import is_elementwise, is_multiple
from ntkgap.kernels.infinite.activations.registry import find_activation, quadrature_of

__all__ = ["Activation", "find_activation", "is_elementwise", "is_multiple", "quadrature_of"]
