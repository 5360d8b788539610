"""The diagnosis of one's own training: kernel regime, feature learning, or something between."""

from ntkgap.studies.diagnosis.claims import Tolerances
from ntkgap.studies.diagnosis.problem import DiagnosisProblem
from ntkgap.studies.diagnosis.regime import Regime, regime_of
from ntkgap.studies.diagnosis.study import DiagnosisStudy

__all__ = ["DiagnosisProblem", "DiagnosisStudy", "Regime", "Tolerances", "regime_of"]
