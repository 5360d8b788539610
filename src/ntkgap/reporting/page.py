"""The report: one self-contained HTML page, the answers first, and the files beside it."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ntkgap.errors import NtkgapError, StoreError
from ntkgap.reporting.charts.claims import axis_panels, claim_panels
from ntkgap.reporting.charts.matrices import MatrixPanel
from ntkgap.reporting.charts.panel import Panel
from ntkgap.reporting.charts.study import figure_panels, shows
from ntkgap.reporting.own_folder import FIGURES, check_own, mark, own_page, page_of, stores_of
from ntkgap.reporting.remarks import remarks
from ntkgap.reporting.rendering import render
from ntkgap.reporting.strips import Strip, WidthAxis
from ntkgap.reporting.summary import Scorecard, seeds_note
from ntkgap.reporting.tables import write_tables
from ntkgap.reporting.variations import AxisSection, axis_sections
from ntkgap.studies import AxisVerdict, Verdict, assess, assess_variations, study_of
from ntkgap.studies.assess import NotAsked, measured_cells, not_asked
from ntkgap.studies.base import BaseStudy
from ntkgap.studies.figures import StudyFigure, Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.remedies import remedies
from ntkgap.sweep import Runs
from ntkgap.sweep.files import write_atomically
from ntkgap.sweep.study import describe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Panels = Sequence[Panel] | Sequence[MatrixPanel]


@dataclass(frozen=True)
class StudyPage:
    """What the template shows of one study."""

    key: str
    runs: Runs
    study: BaseStudy
    verdicts: list[Verdict]
    axis_verdicts: list[AxisVerdict]
    card: Scorecard
    claim_panels: dict[str, Panels]
    figures: list[tuple[StudyFigure, Panels]]
    answers: list[Table]
    tables: list[Table]
    variations: list[tuple[AxisSection, Panels]]
    configuration: str
    counts: dict[str, int]
    diverged: list[str]
    remarks: list[str]
    failures: list[tuple[str, str]]
    seconds: float
    seeds_note: str
    not_asked: list[NotAsked]
    left_out: list[str]
    remedies: dict[tuple[str, str], str]
    described: dict[str, str]

    def strip(self, axis: WidthAxis, columns: int) -> Strip:
        """The first picture, with room for so many columns."""
        return Strip.of(self.study, self.card, axis, columns)


def report(runs: Runs | Sequence[Runs], path: str | Path | None = None, *, pdf: bool = False) -> Path:
    """Write the report of one or more studies.

    Beside the page go ``results.csv`` (one row a cell) and ``verdicts.json``: give it a folder of its own. Nothing
    is overwritten but an earlier report of the same stores. Each file is written in one step; a link in its place
    is replaced, not followed.

    Args:
        runs: results, as ``ntkgap.run`` returns them.
        path: a folder, or the page to write (``.html``); it needs no network and no other file. If not given,
            ``report.html`` in the store, or for several in a folder beside the first.
        pdf: whether every figure is also written to ``figures/*.pdf`` beside the page, for papers.

    Returns:
        The path of the page.

    Raises:
        StoreError: if no cell is done yet, those that are can be judged on nothing, or the files cannot be
            written, or would overwrite something else.

    Example:
        >>> study = ng.OptimizationStudy.preset("smoke", widths=[8], seeds=1)
        >>> runs = ng.run(study, "runs/mine", workers=1, progress=False)
        >>> ng.report(runs, "runs/mine/report.html").name
        'report.html'
    """
    all_runs = [r.snapshot() for r in ([runs] if isinstance(runs, Runs) else runs)]
    stores = stores_of(all_runs)
    path = own_page(stores) if path is None else page_of(path)
    if not any(r.counts()["done"] for r in all_runs):
        raise StoreError(
            f"no cell in {', '.join(str(r.path) for r in all_runs)} is done: there is nothing to report"
        )
    pages = [_study_page(r, key) for key, r in _keys(all_runs).items() if r.counts()["done"]]
    if not any(page.verdicts or page.axis_verdicts for page in pages):
        raise StoreError(
            f"the cells that are done in {', '.join(str(r.path) for r in all_runs)} belong to no problem and "
            "no axis of the study: there is nothing to report; run the study again"
        )
    versions = {name: metadata.version(name) for name in ("ntkgap", "torch", "numpy")}
    page = render(pages, {**versions, "python": platform.python_version()}, pdf, mark(path, stores))
    try:
        check_own(path, stores)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tables(path.parent, all_runs, {p.key: (p.verdicts, p.axis_verdicts) for p in pages})
        write_atomically(path, page)
        if pdf:
            _write_pdfs(pages, path.parent / FIGURES)
    except (OSError, ValueError) as error:  # a ValueError of a zero byte in the name
        if isinstance(error, NtkgapError):
            raise
        raise StoreError(f"cannot write the report {path}: {error}") from error
    return path


def _keys(all_runs: Sequence[Runs]) -> dict[str, Runs]:
    """A name for each: its study's, with a number where several are of one study."""
    found: dict[str, Runs] = {}
    for runs in all_runs:
        same = sum(other.study == runs.study for other in found.values())
        found[f"{runs.study}-{same + 1}" if same else runs.study] = runs
    return found


def _write_pdfs(pages: Sequence[StudyPage], folder: Path) -> None:
    """Write every figure; not through a link, which may lead anywhere.

    Raises:
        StoreError: if the folder is a link.
        OSError: if it cannot be written to.
    """
    from ntkgap.reporting.drawings import write_pdfs

    if folder.is_symlink():
        raise StoreError(f"the folder {folder} is a link; remove it, or write the report elsewhere")
    folder.mkdir(exist_ok=True)
    for page in pages:
        write_pdfs(page.runs, page.key, page.card, [section for section, _ in page.variations], folder)


def _study_page(runs: Runs, key: str) -> StudyPage:
    verdicts, axis_verdicts = assess(runs), assess_variations(runs)
    card = Scorecard.of(verdicts)
    cells, all_cells = measured_cells(runs), measured_cells(runs, all_seeds=True)
    study = study_of(runs)
    drawn = [(spec, figure_panels(spec, cells)) for spec in study.figures()]
    done = [Measured.of(c) for c in runs.cells if c.state == "done"]
    return StudyPage(
        key=key,
        runs=runs,
        study=study,
        verdicts=verdicts,
        axis_verdicts=axis_verdicts,
        card=card,
        claim_panels={claim.key: claim_panels(card.row(claim), all_cells) for claim in card.claims},
        figures=[(spec, panels) for spec, panels in drawn if panels],
        answers=study.answers(cells, verdicts) if verdicts else [],
        tables=study.tables(cells, verdicts) if cells else [],
        variations=[(s, axis_panels(s)) for s in axis_sections(axis_verdicts, study.axis_notes)],
        configuration=yaml.safe_dump(runs.configuration, sort_keys=False, allow_unicode=True),
        counts=dict(runs.counts()),
        diverged=[f"{describe(c.cell, runs.axes)}: {'; '.join(c.notes)}" for c in done if c.diverged],
        remarks=remarks(done),
        failures=[(describe(c, runs.axes), m) for c, m in runs.failures()],
        seconds=sum(cell.seconds for cell in done),
        seeds_note=seeds_note(verdicts) if verdicts else "",
        not_asked=not_asked(runs),
        left_out=[claim.title for claim in study.claims() if claim.key in study.leave_out],
        remedies=remedies(study, verdicts, all_cells),
        described={problem.name: problem.describe() for problem in study.problems},
    )


def draw(spec: StudyFigure, cells: Mapping[str, Sequence[Measured]]) -> "Figure | None":
    """The figure of a specification for a paper; None where nothing of what it shows was measured."""
    from ntkgap.reporting import drawings

    return drawings.draw(spec, cells)


def figure_of(runs: Runs, name: str) -> "Figure | None":
    """A claim's figure for a paper, or one of the study's own; None where nothing of this name was measured."""
    from ntkgap.reporting import drawings

    return drawings.figure_of(runs, name)


def figure_names(runs: Runs) -> list[str]:
    """Keys of claims that were judged, then of the study's figures of which something was measured."""
    measured = measured_cells(runs).values()
    shown = [spec.key for spec in study_of(runs).figures() if any(shows(spec, found) for found in measured)]
    return [*dict.fromkeys(v.claim.key for v in assess(runs)), *shown]
