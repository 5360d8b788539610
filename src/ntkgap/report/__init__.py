"""Verdicts for people and programs: terminal scorecard, HTML page, figures, tables."""

from ntkgap.report.page import report
from ntkgap.report.terminal import print_scorecard

__all__ = ["print_scorecard", "report"]
