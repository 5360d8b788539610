"""Figures for papers: each as matplotlib draws it, and all of a study as PDFs."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ntkgap.reporting.axis_figure import axis_figure
from ntkgap.reporting.bands import band_figure
from ntkgap.reporting.charts.study import shows
from ntkgap.reporting.comparison import comparison_figure
from ntkgap.reporting.figures import claim_figure, curve_figure, width_figure
from ntkgap.reporting.gains import gain_figure
from ntkgap.reporting.matrices import matrix_figure
from ntkgap.reporting.paper import PaperFigure
from ntkgap.reporting.scatter import scatter_figure
from ntkgap.reporting.style import style
from ntkgap.reporting.summary import Scorecard
from ntkgap.reporting.variations import AxisSection
from ntkgap.studies import assess, study_of
from ntkgap.studies.assess import measured_cells
from ntkgap.studies.claim_keys import asked_key
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
from ntkgap.sweep import Runs
from ntkgap.sweep.files import write_bytes_atomically


def draw(spec: StudyFigure, cells: Mapping[str, Sequence[Measured]]) -> Figure | None:
    """The figure of a specification; None where nothing of what it shows was measured."""
    cells = {problem: found for problem, found in cells.items() if shows(spec, found)}
    if not cells:
        return None
    match spec:
        case BandFigure():
            return band_figure(spec, cells)
        case WidthFigure():
            return width_figure(spec, cells)
        case CurveFigure():
            return curve_figure(spec, cells)
        case GainFigure():
            return gain_figure(spec, cells)
        case ScatterFigure():
            return scatter_figure(spec, cells)
        case ComparisonFigure():
            return comparison_figure(spec, cells)
        case MatrixFigure():
            return matrix_figure(spec, cells)


def figure_of(runs: Runs, name: str) -> Figure | None:
    """The figure of a claim, or one of the study's own; None where nothing of this name was measured."""
    name = asked_key(name)
    rows = [v for v in assess(runs) if v.claim.key == name]
    specs = [spec for spec in study_of(runs).figures() if spec.key == name]

    def drawn() -> Figure | None:
        if rows:
            return claim_figure(rows, measured_cells(runs, all_seeds=True))
        return draw(specs[0], measured_cells(runs)) if specs else None

    return shown(drawn)


def shown(drawn: Callable[[], Figure | None]) -> Figure | None:
    """A figure for whoever asks for it, who may save it in another width."""
    with style():
        figure = drawn()
    if isinstance(figure, PaperFigure):
        figure.redraw = drawn
        plt.close(figure)  # or else notebooks show it twice
    return figure


def write_pdfs(runs: Runs, key: str, card: Scorecard, sections: Sequence[AxisSection], folder: Path) -> None:
    """Write every figure of a study: of its claims, its own, and those along other axes than the width.

    Args:
        runs: the results.
        key: how the files' names begin.
        card: their verdicts.
        sections: the axes that were varied besides the width.
        folder: where to; each file is written in one step.

    Raises:
        OSError: if it cannot be written to.
    """
    cells, all_cells = measured_cells(runs), measured_cells(runs, all_seeds=True)
    with style():
        for claim in card.claims:
            _write(claim_figure(card.row(claim), all_cells), folder / f"{key}-{claim.key}.pdf")
        for spec in study_of(runs).figures():
            if (figure := draw(spec, cells)) is not None:
                _write(figure, folder / f"{key}-{spec.key}.pdf")
        for i, section in enumerate(sections):
            _write(axis_figure(section), folder / f"{key}-axis-{i + 1}.pdf")


def _write(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None})
    finally:
        plt.close(figure)
    write_bytes_atomically(path, buffer.getvalue())
