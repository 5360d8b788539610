"""The optimization promise: conditions of fast natural gradient descent, rates, and the constant kernel."""

from ntkgap.studies.optimization.claims import Tolerances
from ntkgap.studies.optimization.study import OptimizationProblem, OptimizationStudy

__all__ = ["OptimizationProblem", "OptimizationStudy", "Tolerances"]
