"""Verdicts for people and programs: terminal scorecard, HTML page, figures, tables."""

from ntkgap.reporting.diagnosis import Diagnosis, diagnose
from ntkgap.reporting.page import report
from ntkgap.reporting.preview import print_preview
from ntkgap.reporting.terminal import print_scorecard

__all__ = ["Diagnosis", "diagnose", "print_preview", "print_scorecard", "report"]
