"""``ntkgap status``: how far stores are."""

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntkgap.cli.output import make_console, print_failures
from ntkgap.cli.stores import find_stores
from ntkgap.paths import expanded

if TYPE_CHECKING:
    from ntkgap.sweep.status import Status


def status(
    store: Annotated[Path, typer.Argument(help="A store, or the folder 'ntkgap run' made for them.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every few seconds, until nothing is left to be computed.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 5.0,
) -> None:
    """Show which cells are done, failed or still to be computed.

    It reads the store alone: watch a run from wherever its folder can be seen, and again after a lost connection.
    Each run also writes its events as lines of JSON to log.jsonl in the store.
    """
    from ntkgap.sweep.status import Status

    console, found = make_console(), [Status(one.path) for one in find_stores(expanded(store))]
    if watch:
        _watch(found, every, console)
        return
    for one in found:
        one.refresh()
        if not one.rows:
            console.print(f"{one.path}: no cells are planned yet")
            continue
        console.print(_status_table(one))
        console.print(one.sentence, soft_wrap=True, highlight=False)
        failures = [(c.cell, c.failure()["message"]) for c in one.failed]
        print_failures(failures, one.store.meta["axes"], console)


def _status_table(one: "Status") -> Table:
    meta = one.store.meta
    title = Text(f"{one.path} ({meta['study']}, version {meta['version']})")
    table = Table(title=title, title_justify="left")
    for column in ("problem", "widths", "seeds"):
        table.add_column(column)
    for column in ("done", "failed", "pending", "seconds"):
        table.add_column(column, justify="right")
    for name, row in one.rows.items():
        counts = (str(row.counts[state]) for state in ("done", "failed", "pending"))
        widths = ", ".join(map(str, sorted(row.widths)))
        table.add_row(Text(name), widths, str(len(row.seeds)), *counts, f"{row.seconds:.0f}")
    return table


def _watch(found: "list[Status]", every: float, console: Console) -> None:
    """Show how far stores are until all are done: tables on a terminal, elsewhere a line at each change."""
    from rich.console import Group
    from rich.live import Live

    said: list[str] = []
    screen = Live(console=console, auto_refresh=False) if console.is_terminal else contextlib.nullcontext()
    with screen as live:
        while True:
            for one in found:
                one.refresh()
            now = [f"{one.path}: {one.sentence}" for one in found]
            if live is not None:
                parts = [part for one, line in zip(found, now, strict=True) for part in (_status_table(one), line)]
                live.update(Group(*parts), refresh=True)
            elif now != said:
                clock = time.strftime("%H:%M:%S")
                console.print(*(f"{clock} {line}" for line in now), sep="\n", soft_wrap=True, highlight=False)
            said = now
            if all(one.rows and one.is_over for one in found):
                return
            time.sleep(every)
