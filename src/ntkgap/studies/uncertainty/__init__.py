"""The uncertainty promise: ensembles against the Gaussian that infinite width predicts, and what it is worth."""

from ntkgap.studies.uncertainty.classes import ClassificationProblem
from ntkgap.studies.uncertainty.ensembles import EnsembleProblem
from ntkgap.studies.uncertainty.study import UncertaintyStudy

__all__ = ["ClassificationProblem", "EnsembleProblem", "UncertaintyStudy"]
