"""What a sweep would compute, how long it would take and how much memory, before anything is computed."""

import math
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntkgap.errors import NtkgapError
from ntkgap.studies.base import BaseStudy
from ntkgap.studies.cost import (
    PILOT_SECONDS,
    Place,
    Seconds,
    physical_memory,
    pilots,
    place_of,
    sweep_seconds,
)
from ntkgap.studies.device_memory import room_on
from ntkgap.studies.variations import variation_name
from ntkgap.sweep import Cell, Store, default_workers, planned_cells, preview
from ntkgap.sweep.shards import Shard


def print_preview(
    study: BaseStudy,
    path: Path,
    console: Console,
    *,
    workers: int | None = None,
    retry_failed: bool = False,
    shard: Shard | None = None,
) -> None:
    """Print cells, time and memory by problem and width, and of the whole sweep.

    Time is told by cells that are done, or else by a few that are computed now and thrown away.

    Args:
        study: what would be measured.
        path: the store it would go into.
        console: where to print.
        workers: worker processes; by default one a core.
        retry_failed: whether failed cells would be computed again.
        shard: the part that would be computed; all if None.

    Raises:
        StoreError: if the store cannot be used for this study.
        NtkgapError: if data cannot be loaded or a network not be built.
    """
    total, to_do = preview(study, path, retry_failed, shard)
    console.print(Text(f"{study.name}: {len(to_do)} of {total} cells to compute, into {path}"), soft_wrap=True)
    if not to_do:
        return
    with console.status("measuring a few cells …"):
        seconds = _seconds(study, path, to_do)
    memory = _memory(study, to_do)
    console.print(_table([p.name for p in study.problems], to_do, seconds, memory))
    workers = min(default_workers() if workers is None else workers, len(to_do))
    summary = _summary(to_do, seconds, memory, workers) + _of_device(study, to_do, workers)
    console.print(Text(summary), soft_wrap=True)


def _seconds(study: BaseStudy, path: Path, cells: list[Cell]) -> Seconds:
    """From the store, if it has cells that are done; else from pilots."""
    done = [c for c in planned_cells(study, path) if c.state == "done"] if Store.exists(path) else []
    if done:
        return Seconds([(c.cell, c.result()["seconds"]) for c in done])
    return pilots(study, cells)


def _memory(study: BaseStudy, cells: list[Cell]) -> dict[tuple[Place, int], float]:
    """Bytes of a cell by problem, variation and width; NaN for a network that cannot be built."""
    found: dict[tuple[Place, int], float] = {}
    for cell in cells:
        key = (place_of(cell), cell["width"])
        if key not in found:
            try:
                found[key] = study.problem_of(cell).sizes(cell["width"]).bytes
            except NtkgapError:
                found[key] = math.nan
    return found


def _table(
    problems: list[str], cells: list[Cell], seconds: Seconds, memory: dict[tuple[Place, int], float]
) -> Table:
    """One row a problem and width, and one a variation: seeds are alike."""
    table = Table("problem")
    for column in ("width", "cells", "time a cell", "memory a cell"):
        table.add_column(column, justify="right")
    counts = Counter((cell["problem"], variation_name(cell), cell["width"]) for cell in cells)
    each = {(cell["problem"], variation_name(cell), cell["width"]): cell for cell in cells}
    for problem in problems:
        table.add_section()
        name = problem
        for place in sorted(p for p in counts if p[0] == problem):
            _, variation, width = place
            cell = each[place]
            numbers = (str(counts[place]), duration(seconds.of(cell)), size(memory[place_of(cell), width]))
            table.add_row(Text(f"  {variation}" if variation else name), str(width), *numbers)
            name = ""
    return table


def _summary(cells: list[Cell], seconds: Seconds, memory: dict[tuple[Place, int], float], workers: int) -> str:
    """The whole sweep in a few sentences."""
    each = [seconds.of(cell) for cell in cells]
    known = [s for s in each if s is not None]
    of_all = f"{workers} workers" if workers > 1 else "1 worker"
    sentences = []
    if len(known) == len(each):
        sentences.append(
            f"About {duration(sweep_seconds(known, workers))} with {of_all} on this machine, to a factor of two "
            f"or three; the most expensive cell takes {duration(max(known))}."
        )
    else:
        unknown = dict.fromkeys(repr(c["problem"]) for c, s in zip(cells, each, strict=True) if s is None)
        sentences.append(
            f"Of {', '.join(unknown)} no cell was computed in {PILOT_SECONDS:.0f} s, so that no time is known."
        )
    sizes = (memory[place_of(cell), cell["width"]] for cell in cells)
    peaks = sorted((found for found in sizes if not math.isnan(found)), reverse=True)
    if not peaks:
        return " ".join([*sentences, "How much memory the cells need is not known."])
    at_once, there_is = sum(peaks[:workers]), physical_memory()
    sentences.append(
        f"The largest cell needs about {size(peaks[0])}"
        + (f", the {workers} largest at once {size(at_once)}." if workers > 1 else ".")
    )
    if peaks[0] > there_is:
        sentences.append(f"That is more than the {size(there_is)} this machine has: such cells would be lost.")
    elif at_once > there_is:
        sentences.append(f"This machine has {size(there_is)}: take fewer --workers.")
    return " ".join(sentences)


def _of_device(study: BaseStudy, cells: list[Cell], workers: int) -> str:
    """Whether the cells fit the device; empty for the CPU."""
    room = room_on(study.device)
    stacks = study.stacks(cells, workers)
    needs = [study.memory(cells[stack[0]], len(stack)) for stack in stacks]
    if room is None or not any(needs):
        return ""
    each = "each " if room.devices > 1 else ""
    sentences = [f" {room.name} has {each}{size(room.free)} free of {size(room.total)}."]
    if too_large := sum(need > room.total for need in needs):
        which = "it will not be begun" if too_large == 1 else "they will not be begun"
        sentences.append(f"{too_large} of the cells need more by the forecast: {which}.")
    if (most := max(map(len, stacks))) > 1:
        sentences.append(f"Up to {most} seeds are trained at once there, which that estimate of time leaves out.")
    if (fitting := room.workers(needs)) < min(workers, len(stacks)):
        sentences.append(f"That is room for {fitting} of {workers} workers at once; no more will be started.")
    return " ".join(sentences)


def duration(seconds: float | None) -> str:
    """A time for people, as exact as an estimate is."""
    if seconds is None:
        return "?"
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.2g} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def size(count: float) -> str:
    """Bytes for people."""
    if math.isnan(count):
        return "?"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
