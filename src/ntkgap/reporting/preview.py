"""What a sweep would compute, how long it would take and how much memory, before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ntkgap.studies.base import BaseStudy
from ntkgap.studies.estimate import Estimate, physical_memory, sweep_seconds
from ntkgap.sweep import Cell, default_workers, preview


@dataclass(frozen=True)
class _Row:
    """The cells of one problem and width; seeds are alike."""

    problem: str
    width: int
    seeds: int
    each: Estimate


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
    rows = _rows(study, to_do)
    table = Table(
        title=f"{study.name}: {len(to_do)} of {total} cells to compute, into {path}", title_justify="left"
    )
    table.add_column("problem")
    for column in ("width", "cells", "time a cell", "memory a cell", "TFLOP a cell"):
        table.add_column(column, justify="right")
    before = None
    for row in rows:
        name = row.problem if row.problem != before else ""
        if before is not None and name:
            table.add_section()
        before = row.problem
        table.add_row(
            name,
            str(row.width),
            str(row.seeds),
            duration(row.each.seconds),
            size(row.each.bytes),
            f"{row.each.flops / 1e12:.2g}",
        )
    console.print(table)
    if to_do:
        workers = min(default_workers() if workers is None else workers, len(to_do))
        console.print(_summary(rows, workers), soft_wrap=True, highlight=False)


def _rows(study: BaseStudy, cells: Sequence[Cell]) -> list[_Row]:
    seeds: dict[tuple[str, int], list[Cell]] = {}
    for problem in dict.fromkeys(p.name for p in study.problems):
        for cell in sorted((c for c in cells if c["problem"] == problem), key=lambda c: c["width"]):
            seeds.setdefault((problem, cell["width"]), []).append(cell)
    return [_Row(*place, len(alike), study.estimate(alike[0])) for place, alike in seeds.items()]


def _summary(rows: list[_Row], workers: int) -> str:
    """The whole sweep in a few sentences."""
    durations = sorted((row.each.seconds for row in rows for _ in range(row.seeds)), reverse=True)
    peaks = sorted((row.each.bytes for row in rows for _ in range(row.seeds)), reverse=True)
    at_once, memory = sum(peaks[:workers]), physical_memory()
    of_all = f"{workers} workers" if workers > 1 else "1 worker"
    sentences = [
        f"About {duration(sweep_seconds(durations, workers))} with {of_all} on this machine "
        f"({duration(sum(durations))} of computation); the dearest cell takes {duration(durations[0])}.",
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
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def size(count: float) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
