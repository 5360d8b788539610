"""What commands say besides their results: warnings, failures, how to go on."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from ntkgap.texts import PlainConsole

if TYPE_CHECKING:
    from ntkgap.studies.base import BaseStudy
    from ntkgap.sweep import Runs
    from ntkgap.sweep.shards import Shard


def make_console(*, stderr: bool = False) -> Console:
    """Prints what users call things as they call it."""
    return PlainConsole(stderr=stderr)


def warn(message: str) -> None:
    """Print a warning to standard error."""
    make_console(stderr=True).print(Text.assemble(("warning: ", "bold yellow"), message), soft_wrap=True)


def say_what_is_open(finished: "Sequence[Runs]", console: Console) -> None:
    """Print which verdicts more seeds may decide, a line a study."""
    from ntkgap.studies import assess
    from ntkgap.studies.more_seeds import still_open

    for runs in finished:
        left = still_open(assess(runs)) or "no verdict is open that more seeds may decide"
        if pending := runs.counts()["pending"]:
            left += f"; {pending} of {len(runs.cells)} cells planned are still to be computed"
        console.print(f"{runs.study}: {left}", soft_wrap=True, highlight=False)


def say_how_to_resume(study: "BaseStudy", path: Path, deciding: bool, shard: "Shard | None" = None) -> None:
    """Print what an interrupted run has kept."""
    from ntkgap.sweep import Runs, planned_cells

    cells = Runs(path).cells if deciding else planned_cells(study, path, shard)
    done = f"{sum(c.state == 'done' for c in cells)} of {len(cells)} cells are done and kept"
    make_console(stderr=True).print(f"\ninterrupted: {done}; run the same command to resume", highlight=False)


def print_failures(failures: list[tuple[dict[str, Any], str]], axes: Sequence[str], console: Console) -> None:
    """Print a line a failed cell, with its message."""
    from ntkgap.sweep.study import describe

    for cell, message in failures:
        console.print(Text(f"failed: {describe(cell, axes)}: {message}"))


def exit_with_failures(
    studies: "list[BaseStudy]", stores: list[Path], deciding: bool, shard: "Shard | None" = None
) -> None:
    """End with a status of 1 if a cell of these studies has failed or, unless time was given, is missing."""
    from ntkgap.sweep import Runs, planned_cells

    pairs = zip(studies, stores, strict=True)
    cells = [c for s, path in pairs for c in (Runs(path).cells if deciding else planned_cells(s, path, shard))]
    failed = [(c.cell, c.failure()["message"]) for c in cells if c.state == "failed"]
    missing = 0 if deciding else sum(c.state == "pending" for c in cells)
    if not failed and not missing:
        return
    console = make_console(stderr=True)
    print_failures(failed, studies[0].axes, console)
    if failed:
        what = (
            "1 cell failed; --retry-failed computes it"
            if len(failed) == 1
            else (f"{len(failed)} cells failed; --retry-failed computes them")
        )
        console.print(f"{what} again", style="red")
    if missing:
        what = "1 cell is" if missing == 1 else f"{missing} cells are"
        console.print(f"{what} still to be computed; run the same command again", style="red")
    raise typer.Exit(1)
