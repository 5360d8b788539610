"""Ensembles of finite networks beside the Gaussian that infinite width predicts."""

from ntkgap.studies.uncertainty.ensembles.answers import answers
from ntkgap.studies.uncertainty.ensembles.claims import claims
from ntkgap.studies.uncertainty.ensembles.display import figures, tables
from ntkgap.studies.uncertainty.ensembles.problem import EnsembleProblem

__all__ = ["EnsembleProblem", "answers", "claims", "figures", "tables"]
