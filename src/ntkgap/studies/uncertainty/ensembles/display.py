"""What is drawn and listed of ensemble problems besides the claims."""

from collections.abc import Mapping, Sequence

from ntkgap.studies.figures import StudyFigure, Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.verdict import Verdict


def figures() -> list[StudyFigure]:
    """Errors over width and over training."""
    return []


def tables(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
    """Calibration of every method."""
    return []
