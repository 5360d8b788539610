"""Empirical neural tangent kernels: finite width, any ``nn.Module``.

How it works. A network at a point of parameter space (``network``) is run on a handful of examples while every
torch function that touches a parameter is watched (``tracing``). For functions with a rule (``rules``) it is
enough to remember what the layer saw and where in autograd's graph the gradient of what it returned will arrive;
the gradient of its parameters is then a short sum of outer products (``parts``, ``factors``, ``collect``) that is
never written out. Before this is believed it is checked against autograd (``recipe``, ``autograd_check``); what
fails, or has no rule, falls back to explicit per-example gradients, and networks that have none are refused.
Kernels are products of factors, taken in the cheapest of several exact orders and in blocks that fit the memory
(``plan``, ``contraction``, ``kernel_job``). What one calls: ``ntk`` and ``jacobian``; what is too large for memory
goes to a file (``to_file``), or is an operator that is never formed (``operator``, ``products``).
"""

from ntkgap.kernels.empirical.jacobian import Jacobian, RepeatedJacobian, jacobian
from ntkgap.kernels.empirical.kernel_job import RepeatedKernel
from ntkgap.kernels.empirical.ntk import empirical_ntk, plan_ntk
from ntkgap.kernels.empirical.operator import CrossOperator, JacobianChange, KernelChange, NTKOperator
from ntkgap.kernels.empirical.to_file import empirical_ntk_to_file

__all__ = [
    "CrossOperator",
    "Jacobian",
    "JacobianChange",
    "KernelChange",
    "NTKOperator",
    "RepeatedJacobian",
    "RepeatedKernel",
    "empirical_ntk",
    "empirical_ntk_to_file",
    "jacobian",
    "plan_ntk",
]
