"""Empirical neural tangent kernels: finite width, any ``nn.Module``."""

from ntkgap.kernels.empirical.jacobian import Jacobian, jacobian
from ntkgap.kernels.empirical.ntk import as_matrix, empirical_ntk

__all__ = ["Jacobian", "as_matrix", "empirical_ntk", "jacobian"]
