"""``ntkgap report`` and ``ntkgap status``: what a store holds."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ntkgap.cli.output import make_console, print_failures
from ntkgap.cli.stores import open_stores
from ntkgap.paths import expanded


def report(
    stores: Annotated[
        list[Path], typer.Argument(help="One or more stores, or the folder 'ntkgap run' made for them.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder, or the page to write; by default report.html in the store, or of several stores in a "
            "folder beside the first."
        ),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write every figure as a PDF, too.")] = False,
    study: Annotated[
        list[str] | None,
        typer.Option(help="Place of a study of your own, my_study.py:Class, if a store is of it."),
    ] = None,
) -> None:
    """Write the report of finished or running studies again."""
    from ntkgap.reporting import print_scorecard
    from ntkgap.reporting import report as write_report
    from ntkgap.reporting.own_folder import own_page
    from ntkgap.studies import assess, assess_variations, find_study, not_asked, study_of

    for place in study or ():
        find_study(place)
    stores = [expanded(path) for path in stores]
    found = [runs for path in stores for runs in open_stores(path)]
    page = write_report(found, out or own_page(stores), pdf=pdf)
    console = make_console()
    for runs in found:
        print_scorecard(assess(runs), console, study_of(runs).title(), assess_variations(runs), not_asked(runs))
    console.print(f"report: {page}", soft_wrap=True, highlight=False)


def status(
    store: Annotated[Path, typer.Argument(help="A store, or the folder 'ntkgap run' made for them.")],
) -> None:
    """Say which cells are done, failed or still to be computed."""
    from ntkgap.studies.measured import check_place
    from ntkgap.studies.variations import row_name

    console = make_console()
    for runs in open_stores(expanded(store)):
        for stored in runs.cells:
            check_place(stored)
        title = Text(f"{runs.path} ({runs.study}, version {runs.version})")
        table = Table(title=title, title_justify="left")
        for column in ("problem", "widths", "seeds"):
            table.add_column(column)
        for column in ("done", "failed", "pending", "seconds"):
            table.add_column(column, justify="right")
        frame = runs.to_pandas()
        if frame.empty:
            console.print(f"{runs.path}: no cells are planned yet")
            continue
        for name, rows in frame.groupby([row_name(c.cell) for c in runs.cells], sort=False):
            done = rows.state.isin(("done", "diverged"))
            seconds = f"{rows.seconds.sum():.0f}" if "seconds" in rows else "0"
            widths = ", ".join(str(w) for w in sorted(set(rows.width)))
            counts = (done.sum(), (rows.state == "failed").sum(), (rows.state == "pending").sum())
            table.add_row(Text(str(name)), widths, str(rows.seed.nunique()), *(str(c) for c in counts), seconds)
        console.print(table)
        print_failures(runs.failures(), runs.axes, console)
