"""Calibration of classifiers: Laplace and the NTK-GP beside deep ensembles."""

from ntkgap.studies.uncertainty.classes.answers import answers
from ntkgap.studies.uncertainty.classes.claims import claims
from ntkgap.studies.uncertainty.classes.problem import ClassificationProblem
from ntkgap.studies.uncertainty.classes.show import figures, tables

__all__ = ["ClassificationProblem", "answers", "claims", "figures", "tables"]
