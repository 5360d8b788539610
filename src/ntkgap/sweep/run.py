"""Running a study: compute the cells that the store does not have yet."""

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ntkgap.errors import StudyError, StudyWarning, callers_level
from ntkgap.sweep.compute_cell import Task, outcome
from ntkgap.sweep.engines import Engine, LocalEngine
from ntkgap.sweep.engines.dask import DaskEngine
from ntkgap.sweep.files import in_threads
from ntkgap.sweep.log import Log
from ntkgap.sweep.progress import Reporter, make_reporter
from ntkgap.sweep.reservations import Reservations, describe_run
from ntkgap.sweep.runs import Runs
from ntkgap.sweep.shards import Shard, cells_of
from ntkgap.sweep.store import Store, flatten
from ntkgap.sweep.stored import StoredCell
from ntkgap.sweep.study import Cell, Study, Supplies, describe

# Methods by which a study may forecast the bytes that a cell needs: of the machine, and of its device.
FORECASTS = ("memory", "device_memory")
# Seconds after which a run that has nothing to begin looks again at what others do.
PATIENCE = 0.5


def default_workers() -> int:
    """Number of processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_workers(workers: int | None = None) -> LocalEngine:
    """Processes of this machine that several runs share, as a context manager; one a core if not given."""
    return LocalEngine(default_workers() if workers is None else workers)


def pending(study: Study, planned: list[StoredCell], retry_failed: bool) -> list[StoredCell]:
    """Cells that have to be computed, the most expensive first."""
    wanted = {"pending", "failed"} if retry_failed else {"pending"}
    states = in_threads(lambda cell: cell.state, planned)
    found = [cell for cell, state in zip(planned, states, strict=True) if state in wanted]
    return sorted(found, key=lambda cell: -study.cost(cell.cell))


def planned_cells(study: Study, path: str | Path, shard: Shard | None = None) -> list[StoredCell]:
    """The cells of this study in an existing store, whatever else the store holds; nothing is written.

    Raises:
        StoreError: if the store at ``path`` cannot be used for this study.
    """
    return Store.open_for(path, study).look_up(cells_of(study, shard))


def _say_what_differs(study: Study, opened: Store, planned: list[StoredCell]) -> None:
    """Warn where the store holds results at the same places on the axes that were computed with other settings.

    A network whose source, or data whose content has changed is such a setting.
    """

    def place(cell: Cell) -> tuple[Any, ...]:
        return tuple(cell.get(axis) for axis in study.axes)

    beside = opened.beside({c.directory.name for c in planned})
    ours = {place(c.cell): c.cell for c in planned} if beside else {}
    others = [c for c in beside if place(c.cell) in ours and c.state == "done"]
    if not others:
        return
    differing: dict[str, None] = {}
    for other in sorted(others, key=lambda c: c.directory.name):
        before, now = flatten(other.cell), flatten(ours[place(other.cell)])
        differing |= dict.fromkeys(k for k in {**before, **now} if before.get(k) != now.get(k))
    names = ", ".join(list(differing)[:6])
    changed = " (a fingerprint is that of a source or of data: it has changed)" if "fingerprint" in names else ""
    warnings.warn(
        f"{len(others)} cells in {opened.path} are of the same places with another {names}{changed}; they stay, "
        "and are shown apart from the new ones",
        StudyWarning,
        stacklevel=callers_level(),
    )


def supplies_of(study: Study) -> Supplies:
    """What workers need besides cells; nothing for a study that says nothing of it."""
    return getattr(study, "supplies", dict)()


def tasks_of(study: Study, cells: Iterable[StoredCell], supplies: Supplies) -> Iterator[Task]:
    """What engines are given of cells."""
    forecasts = {name: getattr(study, name) for name in FORECASTS if hasattr(study, name)}
    at_once = getattr(study, "compute_at_once", "")
    return (Task(study.compute, cell.cell, cell.directory, supplies, forecasts, at_once) for cell in cells)


def preview(
    study: Study, path: str | Path, retry_failed: bool = False, shard: Shard | None = None
) -> tuple[int, list[Cell]]:
    """What ``run`` would do, without writing anything.

    Returns:
        The number of cells of the study, or of the part that is named, and those that would be computed, the most
        expensive first.

    Raises:
        StoreError: if the store at ``path`` cannot be used for this study.
    """
    planned = planned_cells(study, path, shard) if Store.exists(path) else None
    if planned is None:
        cells = cells_of(study, shard)
        return len(cells), sorted(cells, key=lambda c: -study.cost(c))
    return len(planned), [c.cell for c in pending(study, planned, retry_failed)]


def run(
    study: Study,
    store: str | Path,
    workers: int | None = None,
    *,
    retry_failed: bool = False,
    progress: bool = True,
    engine: Engine | None = None,
    shard: Shard | None = None,
) -> Runs:
    """Compute every cell of ``study`` that ``store`` does not have yet.

    Running again *is* resuming: cells that are done are never computed twice. A study with more widths or
    seeds extends the store. A cell that raises an error is recorded as failed and the sweep goes on. Several runs
    may share a store, on one machine or several: each cell is computed by one of them. One that has nothing left
    to begin waits for the others, and takes over the cells of those that die.

    Args:
        study: what to measure.
        store: directory of the results; made if there is none.
        workers: number of processes, by default one a core; ignored if an engine is given.
        retry_failed: compute failed cells again.
        progress: show a bar, or lines where standard error is no terminal.
        engine: where to compute; local processes if not given.
        shard: ``(3, 16)`` computes the third of sixteen fixed parts alone; ``merge_runs`` joins stores of parts.

    Returns:
        All results in the store, those of earlier runs included.

    Raises:
        StoreError: if the store cannot be used: another study's, another version's, not writable.
        StudyError: if the number of workers is not positive, the grid is not well defined, or workers cannot
            import the study.
    """
    workers = _workers_for(study, workers)
    supplies = supplies_of(study)  # which may raise: before anything is changed
    opened = Store.create(store, study)
    with Reservations(opened.path) as reservations:
        with opened.locked():
            planned = opened.plan(study, cells_of(study, shard))
            reservations.tidy(cell.directory for cell in planned)
            to_do = pending(study, planned, retry_failed)
            _say_what_differs(study, opened, planned)
            warn_of_unjudged(opened, (cell.cell for cell in to_do))
            for cell in to_do:
                cell.forget_failure()
        stacks = _stacks(study, engine, workers, to_do)
        engine = engine or LocalEngine(min(workers, max(1, len(stacks))))
        _keep_to_device(study, engine, [[cell.cell for cell in stack] for stack in stacks])
        with Log(opened.path, reservations.name) as log, make_reporter(len(to_do), progress) as reporter:
            log.write("begin", study=study.name, cells=len(planned), to_do=len(to_do))
            tasks = [list(tasks_of(study, stack, supplies)) for stack in stacks]
            _compute(tasks, engine, reservations, _Ended(study, log, reporter))
    return Runs(opened.path)


def run_as_chosen(
    study: Study,
    store: str | Path,
    choose: Callable[[Store, Reporter], Iterator[StoredCell]],
    until: float,
    workers: int | None = None,
    *,
    progress: bool = True,
    engine: Engine | None = None,
) -> Runs:
    """Compute cells that are chosen as results come in, until a moment.

    Args:
        study: whose cells they are.
        store: directory of the results; made if there is none.
        choose: given the store, which is held for this run, and what shows progress, gives the next cell each time
            that a worker is free. It adds them to the store, and notes the study there before the first. Where it
            ends it is asked anew once all it gave have ended; it is over where it then gives none.
        until: by ``time.monotonic``; local processes are stopped then, whatever they have in hand.
        workers: as of ``run``.
        progress: as of ``run``.
        engine: as of ``run``; one that takes cells one by one, and ends by itself what it has begun.

    Returns:
        All results in the store.

    Raises:
        StoreError: as of ``run``; or if another run chooses cells in this store.
        StudyError: as of ``run``.
    """
    workers = _workers_for(study, workers)
    supplies = supplies_of(study)  # which may raise: before anything is changed
    opened = Store.create(store, study)
    with (
        opened.choosing(),
        Reservations(opened.path) as reservations,
        Log(opened.path, reservations.name) as log,
        make_reporter(None, progress) as reporter,
    ):
        _say_what_differs(study, opened, opened.look_up(study.cells()))
        log.write("begin", study=study.name)
        engine, ended = engine or LocalEngine(workers, None, until), _Ended(study, log, reporter)
        _keep_to_device(study, engine, [[cell] for cell in study.cells()])
        begun = True
        while begun:
            begun = False
            chosen = (c for c in choose(opened, reporter) if reservations.take(c.directory))
            for event in engine.run(tasks_of(study, chosen, supplies)):
                begun = True
                reservations.release(event.task.place)
                ended.tell(event.task, event.state, event.message)
    return Runs(opened.path)


def _stacks(study: Study, engine: Engine | None, workers: int, cells: list[StoredCell]) -> list[list[StoredCell]]:
    """Cells that are computed in one call, as the study says; single ones where it or the engine knows none."""
    if not hasattr(study, "stacks") or not isinstance(engine, LocalEngine | DaskEngine | None):
        return [[cell] for cell in cells]
    sharing = workers if engine is None else engine.workers or default_workers()
    return [[cells[i] for i in stack] for stack in study.stacks([cell.cell for cell in cells], sharing)]


def _compute(
    stacks: Sequence[Sequence[Task]], engine: Engine, reservations: Reservations, ended: "_Ended"
) -> None:
    """Compute cells, shared with the other runs of the store, until none is left.

    Args:
        stacks: tasks that are computed in one call each.
        engine: where.
        reservations: of this run.
        ended: told of each that ends, whoever computed it.
    """
    told = False
    tasks = {task.place: task for stack in stacks for task in stack}

    def feed() -> Iterator[Task]:
        for stack in stacks:
            ours = [task for task in stack if task.place in tasks and reservations.take(task.place)]
            if ours:
                yield replace(ours[0], beside=tuple(ours[1:]))

    while tasks:
        elsewhere = [task for task in tasks.values() if outcome(task.place)]
        for task in elsewhere:
            del tasks[task.place]
            ended.tell(task, outcome(task.place) or "pending", "by another run")
        begun = False
        for event in engine.run(feed()):
            begun = True
            reservations.release(event.task.place)
            tasks.pop(event.task.place, None)
            ended.tell(event.task, event.state, event.message)
        if tasks and not begun and not elsewhere:
            if not told:
                holders = sorted({reservations.holder(directory) for directory in tasks} - {""})
                ended.wait(len(tasks), ", ".join(map(describe_run, holders)))
            told = True
            time.sleep(PATIENCE)


class _Ended:
    """Tells the log and whoever watches of cells that have ended."""

    def __init__(self, study: Study, log: Log, reporter: Reporter) -> None:
        self.study, self.log, self.reporter = study, log, reporter

    def tell(self, task: Task, state: str, message: str = "") -> None:
        """Of a cell and what came of it."""
        stored = StoredCell(task.cell, task.place)
        message = stored.failure()["message"] if state == "failed" else message
        seconds = stored.seconds() if state == "done" else None
        place = describe(task.cell, self.study.axes)
        self.log.write("cell", cell=task.place.name, place=place, state=state, seconds=seconds, message=message)
        self.reporter.advance(place, state, message)

    def wait(self, cells: int, holders: str) -> None:
        """Of cells that only other runs may end."""
        self.log.write("wait", cells=cells, runs=holders)
        self.reporter.expect(0, f"{cells} cells are in the hands of {holders or 'other runs'}: waiting for them")


def _workers_for(study: Study, workers: int | None) -> int:
    workers = default_workers() if workers is None else workers
    if workers < 1:
        raise StudyError(f"workers must be at least 1, got {workers}")
    if study.compute.startswith("__main__:"):
        raise StudyError(
            f"the study {study.name!r} is defined in a script or notebook, where workers cannot import it; write "
            "it into a file and get it by find_study('my_study.py:Class')"
        )
    return workers


def _keep_to_device(study: Study, engine: Engine, stacks: Sequence[Sequence[Cell]]) -> None:
    """Have no more workers of this machine at work at once than the study says that its device has room for."""
    if isinstance(engine, LocalEngine) or (isinstance(engine, DaskEngine) and engine.cluster is None):
        workers = engine.workers or default_workers()
        most = getattr(study, "most_workers", None)
        cells, seeds = [stack[0] for stack in stacks], [len(stack) for stack in stacks]
        several = (seeds,) if any(n > 1 for n in seeds) else ()
        engine.at_once = workers if most is None else most(workers, cells, *several)


def warn_of_unjudged(opened: Store, cells: Iterable[Cell]) -> None:
    """Warn of seeds that no look at this store takes."""
    looks: Mapping[str, Any] | None = opened.meta.get("looks")
    if looks and (others := {cell["seed"] for cell in cells} - {*looks["seeds"]}):
        warnings.warn(
            f"{opened.path} was filled by looks at {len(looks['seeds'])} seeds: others, such as seed "
            f"{min(others)}, are in no verdict over width; use a new store for them",
            StudyWarning,
            stacklevel=callers_level(),
        )


def try_cells(study: Study, cells: Sequence[Cell], limit: float) -> list[tuple[Cell, float]]:
    """Compute cells one after the other, in a folder that is thrown away, to see how long they take.

    Args:
        study: whose cells they are.
        cells: which; those that come to an end within the limit are answered.
        limit: seconds for all of them, from the first one's beginning.

    Warns:
        StudyWarning: of each that fails.

    Returns:
        Cells that were computed, with their seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        tasks = []
        for i, cell in enumerate(cells):
            (directory := Path(folder) / str(i)).mkdir()
            tasks.append(Task(study.compute, cell, directory, supplies_of(study)))
        for _ in LocalEngine(1, limit).run(tasks):
            pass
        tried = [StoredCell(task.cell, task.place) for task in tasks]
        for one in tried:
            if one.state == "failed":
                where = describe(one.cell, study.axes)
                warnings.warn(
                    f"{where} failed: {one.failure()['message']}", StudyWarning, stacklevel=callers_level()
                )
        return [(one.cell, one.result()["seconds"]) for one in tried if one.state == "done"]
