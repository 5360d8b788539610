"""``ntkgap compare``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ntkgap.cli.output import make_console
from ntkgap.cli.stores import open_stores
from ntkgap.errors import StoreError
from ntkgap.paths import expanded


def compare(
    before: Annotated[Path, typer.Argument(help="A store, or the folder 'ntkgap run' made for them.")],
    after: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Show which verdicts differ between two runs, and why. Nothing is written."""
    from ntkgap.results import compare_runs

    console = make_console()
    others = {runs.study: runs for runs in open_stores(expanded(after))}
    pairs = [(runs, others[runs.study]) for runs in open_stores(expanded(before)) if runs.study in others]
    if not pairs:
        raise StoreError(f"{before} and {after} have no study in common")
    for one, two in pairs:
        both = compare_runs(one, two)
        changed = both[both.changed]
        console.print(f"{one.study}: {len(changed)} of {len(both)} verdicts differ", style="bold")
        if changed.empty:
            continue
        table = Table("problem", "claim", "at", "before", "after", "why")
        for row in changed.fillna({"state_a": "–", "state_b": "–"}).itertuples():
            shown = (row.problem, row.claim, f"{row.axis} = {row.at}", row.state_a, row.state_b, row.why)
            table.add_row(*(Text(str(text)) for text in shown))
        console.print(table)
