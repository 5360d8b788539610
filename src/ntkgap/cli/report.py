"""``ntkgap report``: the page of stores."""

from pathlib import Path
from typing import Annotated

import typer

from ntkgap.cli.output import make_console
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
    """Write the report of a store again, of a finished or a running study."""
    from ntkgap.reporting import print_scorecard
    from ntkgap.reporting import report as write_report
    from ntkgap.reporting.own_folder import own_page
    from ntkgap.studies import assess, assess_variations, find_study, not_asked, study_of

    for place in study or ():
        find_study(place)
    stores = [expanded(path) for path in stores]
    found = [runs.snapshot() for path in stores for runs in open_stores(path)]  # each result is read once
    page = write_report(found, out or own_page(stores), pdf=pdf)
    console = make_console()
    for runs in found:
        print_scorecard(assess(runs), console, study_of(runs).title(), assess_variations(runs), not_asked(runs))
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
