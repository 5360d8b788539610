"""Where prediction and measurement meet: claims of the theory, judged on networks of growing width."""

from ntkgap.studies.assess import STUDIES, assess, find_study, study_of
from ntkgap.studies.axes import AxisVerdict, assess_variations
from ntkgap.studies.claim import Claim
from ntkgap.studies.continual import ContinualStudy, predict_tasks
from ntkgap.studies.optimization import OptimizationStudy
from ntkgap.studies.uncertainty import UncertaintyStudy
from ntkgap.studies.verdict import Verdict, judge

__all__ = [
    "STUDIES",
    "AxisVerdict",
    "Claim",
    "ContinualStudy",
    "OptimizationStudy",
    "UncertaintyStudy",
    "Verdict",
    "assess",
    "assess_variations",
    "find_study",
    "judge",
    "predict_tasks",
    "study_of",
]
