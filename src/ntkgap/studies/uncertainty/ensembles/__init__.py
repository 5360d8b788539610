"""Ensembles of finite networks beside the Gaussian that infinite width predicts."""

from ntkgap.studies.uncertainty.ensembles.answers import answers
from ntkgap.studies.uncertainty.ensembles.claims import claims
from ntkgap.studies.uncertainty.ensembles.problem import EnsembleProblem
from ntkgap.studies.uncertainty.ensembles.show import figures, tables

__all__ = ["EnsembleProblem", "answers", "claims", "figures", "tables"]
