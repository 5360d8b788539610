"""From the figures of a study to the panels that show them."""

from collections.abc import Mapping, Sequence

from ntkgap.reporting.charts.matrices import MatrixPanel, matrix_panels
from ntkgap.reporting.charts.measurements import (
    band_panels,
    comparison_panels,
    curve_panels,
    gain_panels,
    scatter_panels,
    width_panels,
)
from ntkgap.reporting.charts.panel import Panel
from ntkgap.studies.figures import (
    BandFigure,
    ComparisonFigure,
    CurveFigure,
    GainFigure,
    MatrixFigure,
    ScatterFigure,
    StudyFigure,
    WidthFigure,
)
from ntkgap.studies.measured import Measured


def figure_panels(
    spec: StudyFigure, cells: Mapping[str, Sequence[Measured]]
) -> Sequence[Panel] | Sequence[MatrixPanel]:
    """The panels of a figure; none where nothing of what it shows was measured."""
    cells = {problem: found for problem, found in cells.items() if shows(spec, found)}
    if not cells:
        return []
    match spec:
        case BandFigure():
            return band_panels(spec, cells)
        case WidthFigure():
            return width_panels(spec, cells)
        case CurveFigure():
            return curve_panels(spec, cells)
        case GainFigure():
            return gain_panels(spec, cells)
        case ScatterFigure():
            return scatter_panels(spec, cells)
        case ComparisonFigure():
            return comparison_panels(spec, cells)
        case MatrixFigure():
            return matrix_panels(spec, cells)


def shows(spec: StudyFigure, found: Sequence[Measured]) -> bool:
    """Whether a problem has measured what a figure shows; problems of one study may be of several kinds."""
    match spec:
        case WidthFigure():
            return any(spec.measured in {*cell.scalars} - {*cell.not_asked} for cell in found)
        case CurveFigure():
            return all(spec.measured in cell.curves for cell in found)
        case GainFigure():
            return any(spec.gain in cell.curves for cell in found)
        case ScatterFigure():
            return all(spec.x in cell.scalars and spec.y in cell.scalars for cell in found)
        case BandFigure():
            return any("band_x" in cell.curves for cell in found)
        case MatrixFigure():
            return any(matrix.curve in cell.curves for matrix in spec.matrices for cell in found)
        case ComparisonFigure():
            return any(line.measured in cell.curves for line in spec.lines for cell in found)
