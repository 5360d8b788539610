"""The optimization promise: conditions of fast natural gradient descent, rates, and the constant kernel."""

from ntkgap.studies.optimization.claims import Tolerances
from ntkgap.studies.optimization.problem import OptimizationProblem
from ntkgap.studies.optimization.study import OptimizationStudy

__all__ = ["OptimizationProblem", "OptimizationStudy", "Tolerances"]
