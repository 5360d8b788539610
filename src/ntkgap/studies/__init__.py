"""Where prediction and measurement meet: claims of the theory, judged on networks of growing width."""

from ntkgap.studies.assess import NotAsked, assess, not_asked, study_of
from ntkgap.studies.axes import AxisVerdict, assess_variations
from ntkgap.studies.base import BaseStudy
from ntkgap.studies.claim import Claim
from ntkgap.studies.continual import ContinualStudy, predict_tasks
from ntkgap.studies.diagnosis import DiagnosisStudy
from ntkgap.studies.figures import CurveFigure, Table, WidthFigure
from ntkgap.studies.findings import Findings
from ntkgap.studies.more_seeds import decide
from ntkgap.studies.optimization import OptimizationStudy
from ntkgap.studies.problem import BaseProblem
from ntkgap.studies.registry import STUDIES, find_study, study_names
from ntkgap.studies.uncertainty import UncertaintyStudy
from ntkgap.studies.verdict import Verdict, judge

__all__ = [
    "STUDIES",
    "AxisVerdict",
    "BaseProblem",
    "BaseStudy",
    "Claim",
    "ContinualStudy",
    "CurveFigure",
    "DiagnosisStudy",
    "Findings",
    "NotAsked",
    "OptimizationStudy",
    "Table",
    "UncertaintyStudy",
    "Verdict",
    "WidthFigure",
    "assess",
    "assess_variations",
    "decide",
    "find_study",
    "judge",
    "not_asked",
    "predict_tasks",
    "study_names",
    "study_of",
]
