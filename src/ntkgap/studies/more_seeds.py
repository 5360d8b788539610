"""More seeds only where a verdict is open, those of highest gain first, within a budget of time."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntkgap.axis_names import axis_of
from ntkgap.errors import StoreError, StudyError
from ntkgap.studies.base import BaseStudy
from ntkgap.studies.cost import Seconds
from ntkgap.studies.looked import Looked, looked_at
from ntkgap.studies.looks import LOOKS, Looks, deciding_chance
from ntkgap.studies.measured import Measured
from ntkgap.studies.verdict import Verdict
from ntkgap.sweep import Runs, Store, run_as_chosen
from ntkgap.sweep.engines import Engine
from ntkgap.sweep.progress import Reporter
from ntkgap.sweep.stored import StoredCell


def decide(
    study: BaseStudy,
    store: str | Path,
    budget: float,
    workers: int | None = None,
    *,
    retry_failed: bool = False,
    progress: bool = True,
    engine: Engine | None = None,
) -> Runs:
    """Decide as many verdicts of a study as a budget of time allows.

    First six seeds everywhere: one at every width, narrow to wide, which tells how long the others will take; then
    the others, widest first; then what varies besides the width, with the study's own seeds. From then on seeds
    are added at widths with a claim that is open and may yet be decided, up to the next of the looks at 6, 12 and
    20 (``looks.look``). Widths at which the verdict itself is open, the widest at which its claim was measured,
    come before those that tell from which width a claim holds; of each kind those with the largest

        Σ over open claims of P(the next look decides) / (median seconds of a cell · cells to the next look),

    with P from the seeds so far (``looks.deciding_chance``); among those of zero, with P of the last look. A store
    once filled so is judged by these looks ever after: the error over all of them is 2.1 % a side. Cells that
    ``run`` has put there count in the order of the seeds.

    Args:
        study: what to measure. Its first six seeds are those of the first look; after its own come consecutive
            ones beyond its largest, 20 in all.
        store: directory of the results; made if there is none. Running again goes on.
        budget: seconds from now. A cell is not begun where the median of its width would be too long, or, where
            that has none yet, a third of what other widths let expect. One that lasts longer is stopped and lost.
        workers: number of processes, by default one a core; ignored if an engine is given.
        retry_failed: compute failed cells again. Else a seed that failed is inconclusive.
        progress: show what is being decided.
        engine: where to compute; local processes if not given. Another one ends what it has begun.

    Returns:
        All results in the store.

    Raises:
        StoreError: if the store cannot be used, or was filled by looks at other seeds.
        StudyError: if the budget is not positive, seeds repeat, the study has no claims, or as of ``run``.

    Example:
        >>> study = ng.OptimizationStudy.preset("smoke", widths=[8], seeds=1)
        >>> runs = ng.decide(study, "runs/decided", budget=0.1, workers=1, progress=False)
        >>> [seeds for seeds, _ in runs.looks["schedule"]]  # the looks
        [6, 12, 20]
    """
    until = time.monotonic() + _checked(budget)
    if not isinstance(study, BaseStudy) or not study.judged_claims():
        raise StudyError(f"the study {study.name!r} has no claims, so that there is nothing to decide; run it")
    looks = Looks(LOOKS, seed_sequence(study.seeds, LOOKS[-1][0]))
    rounds: list[_Rounds] = []

    def choose(opened: Store, reporter: Reporter) -> Iterator[StoredCell]:
        if not rounds:
            rounds.append(_Rounds(study, opened, looks, until, reporter))
            rounds[0].prepare(retry_failed)
        return rounds[0].cells()

    return run_as_chosen(study, store, choose, until, workers, progress=progress, engine=engine)


def _checked(budget: float) -> float:
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 < budget < math.inf:
        raise StudyError(f"the budget must be a positive number of seconds, got {budget!r}")
    return float(budget)


def seed_sequence(seeds: Sequence[int], n: int) -> tuple[int, ...]:
    """So many seeds: first those given, in their order, then consecutive ones beyond the largest.

    Raises:
        StudyError: if one is given twice.
    """
    if repeated := [seed for seed, count in Counter(seeds).items() if count > 1]:
        raise StudyError(f"the seed {repeated[0]} is there twice; a seed is one replicate: name each once")
    beyond = range(max(seeds) + 1, max(seeds) + 1 + max(0, n - len(seeds)))
    return (*seeds, *beyond)[:n]


def still_open(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts are open that more seeds may decide, in a sentence; empty if none is."""
    waiting = [result.next_seeds is not None for verdict in verdicts for result in verdict.widths]
    last = sum(verdict.widths[-1].next_seeds is not None for verdict in verdicts)
    return f"{_count(sum(waiting), len(waiting), last)}, which more seeds may decide" if any(waiting) else ""


def _count(n_open: int, total: int, last: int) -> str:
    return f"{n_open} of {total} verdicts open, {last} of them at the largest width"


@dataclass(frozen=True)
class _Step:
    """More seeds at one width, and what they are worth.

    Attributes:
        why: what is added, for a reader.
        cells: that are to be computed.
        worth: what to order by, largest first.
    """

    why: str
    cells: list[StoredCell]
    worth: tuple[bool, float, float]


class _Rounds:
    """Which cell to compute next, as results come in.

    Args:
        study: whose claims are to be decided.
        store: where the cells are.
        looks: by which they are.
        until: by ``time.monotonic``.
        reporter: told what is being decided.
    """

    def __init__(self, study: BaseStudy, store: Store, looks: Looks, until: float, reporter: Reporter) -> None:
        self.study, self.store, self.looks, self.until, self.reporter = study, store, looks, until, reporter
        cells = study.cells()
        varied = {(c["problem"], c["width"]) for c in cells if axis_of(c)}
        # Along other axes the number of seeds is the study's, at the problem's own value, too.
        self.fixed = [store.find(c) for c in cells if axis_of(c) or (c["problem"], c["width"]) in varied]
        self.grid: dict[str, dict[int, list[StoredCell]]] = {}
        for cell in cells:
            if not axis_of(cell) and cell["seed"] == looks.seeds[0]:
                found = [store.find(cell | {"seed": seed}) for seed in looks.seeds]
                self.grid.setdefault(cell["problem"], {})[cell["width"]] = found
        self.taken: set[Path] = set()
        self._in_hand: dict[Path, StoredCell] = {}
        self._failed: set[Path] = set()
        self._done: dict[Path, Measured] = {}
        self._seconds = Seconds([])
        self._timed: set[tuple[str, str, int]] = set()
        self._looked: dict[str, tuple[int, dict[tuple[str, int], Looked]]] = {}

    def prepare(self, retry_failed: bool) -> None:
        """Write down how the store is filled, and forget failures if that is asked for.

        Raises:
            StoreError: if it was filled by looks at other seeds.
        """
        said: dict[str, Any] = {"schedule": [list(at) for at in self.looks.schedule], "seeds": [*self.looks.seeds]}
        before = self.store.meta.get("looks") or said
        if before != said:
            there, asked = (", ".join(map(str, looks["seeds"][: self.looks.first])) for looks in (before, said))
            raise StoreError(
                f"{self.store.path} was filled by looks at the seeds {there}, …, and not at {asked}, …: give the "
                "same seeds, or use a new store"
            )
        self.store.note(self.study, looks=said)
        lists = [self.fixed, *(cells for widths in self.grid.values() for cells in widths.values())]
        self._in_hand = {cell.directory: cell for cells in lists for cell in cells}
        if retry_failed:
            for cell in self._in_hand.values():
                cell.forget_failure()
        self._see_what_has_ended()
        self._in_hand.clear()
        for cell in [*self._first_look(), *self.fixed]:
            self.store.add(cell.cell)  # shows as pending until it is computed

    def cells(self) -> Iterator[StoredCell]:
        """The next cells, each chosen when it is asked for."""
        fixed = sorted(self.fixed, key=lambda c: -self.study.cost(c.cell))
        yield from self._those(f"{self.looks.first} seeds everywhere", self._first_look())
        yield from self._those("the study's own seeds along other axes", fixed)
        while step := self._next_step():
            yield from self._those(step.why, step.cells)

    def _first_look(self) -> list[StoredCell]:
        first = [cells[: self.looks.first] for widths in self.grid.values() for cells in widths.values()]
        pilots = sorted((cells[0] for cells in first), key=lambda c: self.study.cost(c.cell))
        return pilots + sorted((c for cells in first for c in cells[1:]), key=lambda c: -self.study.cost(c.cell))

    def _those(self, why: str, cells: list[StoredCell]) -> Iterator[StoredCell]:
        """Of these the ones that are neither begun nor done, as long as there is time for them."""
        told = False
        waiting = [cell for cell in cells if self._is_waiting(cell)]
        for i, cell in enumerate(waiting):
            self._see_what_has_ended()
            self.taken.add(cell.directory)
            if time.monotonic() + self._expected(cell) < self.until:
                if not told:
                    self.reporter.expect(len(waiting) - i, why)
                told = True
                self._in_hand[cell.directory] = cell
                yield self.store.add(cell.cell)

    def _expected(self, cell: StoredCell) -> float:
        """Seconds before which a cell will hardly end: an estimate from other widths may be thrice too long."""
        seconds = self._seconds.of(cell.cell) or 0.0
        place = (cell.cell["problem"], cell.cell["variation"], cell.cell["width"])
        return seconds if place in self._timed else seconds / 3

    def _is_waiting(self, cell: StoredCell) -> bool:
        return all(cell.directory not in known for known in (self.taken, self._done, self._failed))

    def _see_what_has_ended(self) -> None:
        """Read the results of cells in hand; nobody else computes any, as the store is held."""
        ended = {
            directory: state for directory, cell in self._in_hand.items() if (state := cell.state) != "pending"
        }
        for directory, state in ended.items():
            cell = self._in_hand.pop(directory)
            if state == "failed":
                self._failed.add(directory)
            else:
                self._done[directory] = Measured.of(cell)
        if ended:
            done = [measured.cell for measured in self._done.values()]
            self._timed = {(cell["problem"], cell["variation"], cell["width"]) for cell in done}
            self._seconds = Seconds([(measured.cell, measured.seconds) for measured in self._done.values()])

    def _next_step(self) -> _Step | None:
        """The step that is worth most; None if no claim is open, or the cells of all that are have been begun."""
        if time.monotonic() >= self.until:
            return None
        self._see_what_has_ended()
        looked = {problem: self._look(problem) for problem in self.grid}
        widest = {(p, key): width for p, found in looked.items() for key, width in found}
        n_open = [(p, *at) for p, found in looked.items() for at, one in found.items() if one.found.next_seeds]
        last = sum(widest[p, key] == width for p, key, width in n_open)
        count = _count(len(n_open), sum(map(len, looked.values())), last)
        steps = [
            step
            for problem, found in looked.items()
            for width in self.grid[problem]
            for step in self._steps(problem, width, found, count)
        ]
        return max(steps, key=lambda step: step.worth, default=None)

    def _steps(
        self, problem: str, width: int, found: Mapping[tuple[str, int], Looked], count: str
    ) -> Iterator[_Step]:
        """What can be added at one width: up to each look that an open claim waits for.

        A number that ``complete`` finds by comparing widths needs the seeds at narrower ones.
        """
        waiting: dict[tuple[int, bool], list[Looked]] = defaultdict(list)
        widest = dict(found.keys())
        for (_, at), one in found.items():
            if at == width and one.found.next_seeds:
                waiting[one.found.next_seeds, self._is_compared(problem, width, one.claim.quantity)].append(one)
        for (n, compared), claims in waiting.items():
            # A comparison's seeds serve the other claims of the width as well.
            served = [*claims, *waiting.get((n, False), [])] if compared else claims
            widths = [w for w in self.grid[problem] if w == width or (compared and w < width)]
            cells = [c for w in widths for c in self.grid[problem][w][:n] if self._is_waiting(c)]
            if not cells:
                continue
            cost = sum(self._seconds.of(c.cell) or 1.0 for c in cells) or 1e-9
            k, (last, last_k) = dict(self.looks.schedule)[n], self.looks.schedule[-1]
            soon = sum(deciding_chance(one.sides, n, k) for one in served)
            late = sum(deciding_chance(one.sides, last, last_k) for one in served)
            headline = any(widest[one.claim.key] == width for one in served)
            seeds = [c.cell["seed"] for c in cells]
            why = f"{count}; {problem}, width {width}: seeds {min(seeds)}–{max(seeds)}"
            yield _Step(why, cells, (headline, soon / cost, late / cost))

    def _is_compared(self, problem: str, width: int, quantity: str) -> bool:
        """Whether a number is found only beside those of narrower networks."""
        if not self.study.compares_widths:
            return False
        cells = [self._done[c.directory] for c in self.grid[problem][width] if c.directory in self._done]
        return not any(quantity in cell.scalars for cell in cells)

    def _look(self, problem: str) -> dict[tuple[str, int], Looked]:
        """What the looks say of a problem; judged anew where a cell of it has ended since."""
        stored = [c for cells in self.grid[problem].values() for c in cells]
        done = [self._done[c.directory] for c in stored if c.directory in self._done]
        failed = {(c.cell["width"], c.cell["seed"]) for c in stored if c.directory in self._failed}
        n_ended, known = self._looked.get(problem, (0, {}))
        if n_ended != len(done) + len(failed):
            known = looked_at(self.study, done, failed, self.looks)
            self._looked[problem] = len(done) + len(failed), known
        return known
