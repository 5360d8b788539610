"""The continual-learning promise: what networks forget, beside what kernels foretell."""

from ntkgap.studies.continual.problem import ContinualProblem
from ntkgap.studies.continual.study import ContinualStudy

__all__ = ["ContinualProblem", "ContinualStudy"]
