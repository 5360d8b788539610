"""The continual-learning promise: what networks forget, beside what kernels predict."""

from ntkgap.studies.continual.prediction import PredictedScores, predict_tasks
from ntkgap.studies.continual.problem import ContinualProblem
from ntkgap.studies.continual.study import ContinualStudy

__all__ = ["ContinualProblem", "ContinualStudy", "PredictedScores", "predict_tasks"]
