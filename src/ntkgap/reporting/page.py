"""The report: one self-contained HTML page, scorecard first, and the files beside it."""

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import jinja2
import yaml
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ntkgap.errors import NtkgapError, StoreError
from ntkgap.paths import expanded
from ntkgap.reporting.bands import band_figure
from ntkgap.reporting.comparison import comparison_figure
from ntkgap.reporting.figures import (
    claim_figure,
    curve_figure,
    style,
    to_svg,
    width_figure,
)
from ntkgap.reporting.gains import gain_figure
from ntkgap.reporting.marks import COLOURS, mark, outlook, trend_text, width_mark
from ntkgap.reporting.matrices import matrix_figure
from ntkgap.reporting.remarks import remarks
from ntkgap.reporting.scatter import scatter_figure
from ntkgap.reporting.summary import Scorecard, bottom_line, seeds_note
from ntkgap.reporting.tables import write_tables
from ntkgap.reporting.variations import AxisSection, axis_figure, axis_sections
from ntkgap.studies import AxisVerdict, Verdict, assess, assess_variations, study_of
from ntkgap.studies.assess import NotAsked, measured_cells, not_asked
from ntkgap.studies.figures import (
    BandFigure,
    ComparisonFigure,
    CurveFigure,
    GainFigure,
    MatrixFigure,
    ScatterFigure,
    StudyFigure,
    Table,
    WidthFigure,
)
from ntkgap.studies.measured import Measured
from ntkgap.studies.verdict import number
from ntkgap.sweep import Runs
from ntkgap.sweep.files import write_atomically
from ntkgap.sweep.study import describe


@dataclass(frozen=True)
class Drawing:
    """A figure on the page: its SVG, and the name of its PDF if there is one."""

    svg: str
    pdf: str | None


@dataclass(frozen=True)
class StudyPage:
    """What the template shows of one study."""

    runs: Runs
    title: str
    verdicts: list[Verdict]
    axis_verdicts: list[AxisVerdict]
    card: Scorecard
    claim_drawings: dict[str, Drawing]
    drawings: list[tuple[StudyFigure, Drawing]]
    answers: list[Table]
    tables: list[Table]
    variations: list[tuple[AxisSection, Drawing]]
    configuration: str
    counts: dict[str, int]
    diverged: list[str]
    remarks: list[str]
    failures: list[tuple[str, str]]
    seconds: float
    seeds_note: str
    not_asked: list[NotAsked]
    described: dict[str, str]


def report(runs: Runs | Sequence[Runs], path: str | Path = "report.html", *, pdf: bool = False) -> Path:
    """Write the report of one or more studies.

    Beside the page go ``results.csv`` (one row a cell) and ``verdicts.json``.

    Args:
        runs: results, as ``ntkgap.run`` returns them.
        path: the page to write; it needs no network and no other file.
        pdf: whether every figure is also written to ``figures/*.pdf`` beside the page, for papers.

    Returns:
        The path of the page.

    Raises:
        StoreError: if no cell is done yet, those that are can be judged on nothing, or the files cannot be
            written.
    """
    all_runs = [runs] if isinstance(runs, Runs) else list(runs)
    path = expanded(path)
    if not any(r.counts()["done"] for r in all_runs):
        raise StoreError(
            f"no cell in {', '.join(str(r.path) for r in all_runs)} is done: there is nothing to report"
        )
    try:
        figures = path.parent / "figures" if pdf else None
        (figures or path.parent).mkdir(parents=True, exist_ok=True)
        pages = [_study_page(r, figures) for r in all_runs if r.counts()["done"]]
        if not any(page.verdicts or page.axis_verdicts for page in pages):
            raise StoreError(
                f"the cells that are done in {', '.join(str(r.path) for r in all_runs)} belong to no problem and "
                "no axis of the study: there is nothing to report; run the study again"
            )
        write_tables(path.parent, all_runs, {p.runs.study: (p.verdicts, p.axis_verdicts) for p in pages})
        write_atomically(path, _render(pages))
    except (OSError, ValueError) as error:  # a ValueError of a zero byte in the name
        if isinstance(error, NtkgapError):
            raise
        raise StoreError(f"cannot write the report {path}: {error}") from error
    return path


def _study_page(runs: Runs, figures: Path | None) -> StudyPage:
    verdicts, axis_verdicts = assess(runs), assess_variations(runs)
    card = Scorecard.of(verdicts)
    cells, all_cells = measured_cells(runs), measured_cells(runs, all_seeds=True)
    study = study_of(runs)
    with style():
        claim_drawings = {}
        for claim in card.claims:
            figure = claim_figure(card.row(claim), all_cells)
            claim_drawings[claim.key] = _keep(figure, figures, f"{runs.study}-{claim.key}")
        drawings = []
        for spec in study.figures():
            drawn = draw(spec, cells)
            if drawn is not None:
                drawings.append((spec, _keep(drawn, figures, f"{runs.study}-{spec.key}")))
        variations = []
        for i, section in enumerate(axis_sections(axis_verdicts, study.axis_notes)):
            variations.append((section, _keep(axis_figure(section), figures, f"{runs.study}-axis-{i + 1}")))
    done = [Measured.of(c) for c in runs.cells if c.state == "done"]
    return StudyPage(
        runs=runs,
        title=study.title(),
        verdicts=verdicts,
        axis_verdicts=axis_verdicts,
        card=card,
        claim_drawings=claim_drawings,
        drawings=drawings,
        answers=study.answers(cells, verdicts) if verdicts else [],
        tables=study.tables(cells, verdicts) if cells else [],
        variations=variations,
        configuration=yaml.safe_dump(runs.configuration, sort_keys=False, allow_unicode=True),
        counts=dict(runs.counts()),
        diverged=[f"{describe(c.cell, runs.axes)}: {'; '.join(c.notes)}" for c in done if c.diverged],
        remarks=remarks(done),
        failures=[(describe(c, runs.axes), m) for c, m in runs.failures()],
        seconds=sum(cell.seconds for cell in done),
        seeds_note=seeds_note(verdicts) if verdicts else "",
        not_asked=not_asked(runs),
        described={problem.name: problem.describe() for problem in study.problems},
    )


def draw(spec: StudyFigure, cells: Mapping[str, Sequence[Measured]]) -> Figure | None:
    """The figure of a specification; None where nothing of what it shows was measured."""
    cells = {problem: found for problem, found in cells.items() if _shows(spec, found)}
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


def _shows(spec: StudyFigure, found: Sequence[Measured]) -> bool:
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


def figure_names(runs: Runs) -> list[str]:
    """Keys of claims that were judged, then of the study's figures of which something was measured."""
    measured = measured_cells(runs).values()
    shown = [spec.key for spec in study_of(runs).figures() if any(_shows(spec, found) for found in measured)]
    return [*dict.fromkeys(v.claim.key for v in assess(runs)), *shown]


def figure_of(runs: Runs, name: str) -> Figure | None:
    """The figure of a claim, or one of the study's own; None where nothing of this name was measured."""
    rows = [v for v in assess(runs) if v.claim.key == name]
    specs = [spec for spec in study_of(runs).figures() if spec.key == name]
    with style():
        if rows:
            figure: Figure | None = claim_figure(rows, measured_cells(runs, all_seeds=True))
        else:
            figure = draw(specs[0], measured_cells(runs)) if specs else None
    if figure is not None:
        plt.close(figure)  # or else notebooks show it twice
    return figure


def _keep(figure: Figure, folder: Path | None, name: str) -> Drawing:
    if folder is not None:
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    svg = to_svg(figure, name)
    plt.close(figure)
    return Drawing(svg, None if folder is None else f"figures/{name}.pdf")


def _render(pages: list[StudyPage]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ntkgap.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols"],
    )
    helpers = (mark, width_mark, outlook, trend_text, bottom_line, number)
    environment.globals |= {helper.__name__: helper for helper in helpers}
    versions = {name: metadata.version(name) for name in ("ntkgap", "torch", "numpy")}
    return environment.get_template("report.html.j2").render(
        pages=pages,
        colours=COLOURS,
        versions={**versions, "python": platform.python_version()},
        slug=lambda text: re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-"),
    )
