"""Exploration rules in contextual bandits, set by theory, by evidence and by hand."""

from ntkgap.studies.uncertainty.bandits.answers import answers
from ntkgap.studies.uncertainty.bandits.claims import claims
from ntkgap.studies.uncertainty.bandits.problem import BanditProblem
from ntkgap.studies.uncertainty.bandits.show import figures, tables
from ntkgap.studies.uncertainty.bandits.tuned import complete

__all__ = ["BanditProblem", "answers", "claims", "complete", "figures", "tables"]
