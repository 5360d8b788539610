"""What a sweep would compute, how long it would take and how much memory, before anything is computed."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntkgap.studies.base import BaseStudy
from ntkgap.studies.estimate import Estimate, physical_memory, sweep_seconds
from ntkgap.studies.variations import variation_name
from ntkgap.sweep import Cell, default_workers, preview


def print_preview(
    study: BaseStudy, path: Path, console: Console, *, workers: int | None = None, retry_failed: bool = False
) -> None:
    """Print cells, time and memory by problem and width, and of the whole sweep.

    Args:
        study: what would be measured.
        path: the store it would go into.
        console: where to print.
        workers: worker processes; by default one a core.
        retry_failed: whether failed cells would be computed again.

    Raises:
        StoreError: if the store cannot be used for this study.
        NtkgapError: if data cannot be loaded or a network not be built.
    """
    total, to_do = preview(study, path, retry_failed)
    found: dict[tuple[str, str, int], Estimate] = {}
    for cell in to_do:  # seeds are alike
        if (place := _place(cell)) not in found:
            found[place] = study.estimate(cell)
    estimates = [found[_place(cell)] for cell in to_do]
    title = f"{study.name}: {len(to_do)} of {total} cells to compute, into {path}"
    console.print(_table(title, [p.name for p in study.problems], to_do, estimates))
    if to_do:
        workers = min(default_workers() if workers is None else workers, len(to_do))
        console.print(_summary(to_do, estimates, workers), soft_wrap=True, highlight=False)


def _table(title: str, problems: list[str], cells: list[Cell], estimates: list[Estimate]) -> Table:
    """One row a problem and width, and one a variation: seeds are alike."""
    table = Table("problem", title=Text(title), title_justify="left")
    for column in ("width", "cells", "time a cell", "memory a cell"):
        table.add_column(column, justify="right")
    places = [_place(cell) for cell in cells]
    counts, each = Counter(places), dict(zip(places, estimates, strict=True))
    for problem in problems:
        table.add_section()
        name = problem
        for place in sorted(p for p in counts if p[0] == problem):
            _, variation, width = place
            found = each[place]
            numbers = (str(counts[place]), duration(found.seconds), size(found.bytes))
            table.add_row(Text(f"  {variation}" if variation else name), str(width), *numbers)
            name = ""
    return table


def _place(cell: Cell) -> tuple[str, str, int]:
    return cell["problem"], variation_name(cell), cell["width"]


def _summary(cells: list[Cell], estimates: list[Estimate], workers: int) -> str:
    """The whole sweep in a few sentences."""
    keys = [(cell["problem"], cell["seed"], cell["variation"]) for cell in cells]
    peaks = sorted((found.bytes for found in estimates), reverse=True)
    at_once, memory = sum(peaks[:workers]), physical_memory()
    seconds = sweep_seconds(list(zip(keys, estimates, strict=True)), workers)
    of_all = f"{workers} workers" if workers > 1 else "1 worker"
    sentences = [
        f"About {duration(seconds)} with {of_all} on this machine; "
        f"the dearest cell takes {duration(max(found.seconds for found in estimates))}.",
        f"The largest cell needs {size(peaks[0])}"
        + (f", the {workers} largest at once {size(at_once)}." if workers > 1 else "."),
    ]
    if peaks[0] > memory:
        sentences.append(f"That is more than the {size(memory)} this machine has: such cells would be lost.")
    elif at_once > memory:
        sentences.append(f"This machine has {size(memory)}: take fewer --workers.")
    return " ".join(sentences)


def duration(seconds: float) -> str:
    """A time for people, as exact as an estimate is."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.2g} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def size(count: float) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
