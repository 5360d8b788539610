"""From the results of a study to verdicts: the only place where claims meet numbers."""

import json
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ntkgap.axis_names import axis_of
from ntkgap.errors import StoreError, StudyError, StudyWarning, callers_level
from ntkgap.studies.base import BaseStudy
from ntkgap.studies.claim import Claim
from ntkgap.studies.looked import judged_widths, looked_at, looks_of
from ntkgap.studies.measured import Measured
from ntkgap.studies.registry import known_study
from ntkgap.studies.verdict import Verdict, judge, verdict_of
from ntkgap.sweep import Runs
from ntkgap.sweep.store import META, flatten
from ntkgap.sweep.stored import check_place


def study_of(runs: Runs) -> BaseStudy:
    """The study that produced these results, as it was last configured.

    Raises:
        StoreError: if nothing has been planned in the store yet, or what it holds is of no study there is.
    """
    if not runs.configuration:
        raise StoreError(f"the store {runs.path} holds no cells yet; run the study again")
    for stored in runs.cells:
        check_place(stored)
    try:
        kind = known_study(runs.study)
        if kind.version != runs.version:
            warnings.warn(
                f"{runs.path} holds version {runs.version} of the study {runs.study!r}, this ntkgap has version "
                f"{kind.version}: numbers are that version's, and are judged by this one's claims",
                StudyWarning,
                stacklevel=callers_level(),
            )
        return kind.build(runs.configuration, f"the file {runs.path / META}")
    except StudyError as error:
        raise StoreError(
            f"{error}; run the study again into the same store, or read it with its version"
        ) from error


def problem_names(runs: Runs) -> dict[str, str]:
    """Name of the problem of every cell that varies nothing but width and seed, by cell directory.

    Cells belong to one problem if they differ in nothing but width and seed. Where a store holds cells of the
    same name but other settings (from a run with a changed preset), the settings that differ are added.
    """
    by_directory = {c.directory.name: settings(c.cell) for c in runs.cells if not axis_of(c.cell)}
    groups: dict[str, list[dict[str, Any]]] = {}
    for s in by_directory.values():
        variants = groups.setdefault(s["problem"], [])
        if s not in variants:
            variants.append(s)
    names = {}
    for directory, s in by_directory.items():
        variants = groups[s["problem"]]
        several = len(variants) > 1
        differing = [k for k in s if several and len({json.dumps(v.get(k), sort_keys=True) for v in variants}) > 1]
        extra = ", ".join(f"{k} {json.dumps(s[k])}" for k in differing)
        names[directory] = s["problem"] + (f" ({extra})" if extra else "")
    return names


def settings(cell: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell shares with the others of its problem, in dotted names."""
    return {k: v for k, v in flatten(cell).items() if k not in ("width", "seed", "variation")}


def problem_settings(runs: Runs) -> dict[str, dict[str, Any]]:
    """The settings of every problem, by name, in the order in which the study lists them."""
    names = problem_names(runs)
    found = {names[c.directory.name]: settings(c.cell) for c in runs.cells if c.directory.name in names}
    order = [problem.name for problem in study_of(runs).problems]

    def place(problem: str) -> tuple[int, str]:
        name = found[problem]["problem"]
        return (order.index(name) if name in order else len(order)), problem

    return {problem: found[problem] for problem in sorted(found, key=place)}


def assess(runs: Runs) -> list[Verdict]:
    """Judge every claim of the study on every problem, in the order in which the study lists them.

    A claim is judged at the widths at which its quantity was measured (NaN is a measurement: it could not be
    decided); on problems without any, there is no verdict. In a store that was filled by looks, widths are judged
    by these; trends and power laws then rest on the seeds of the first look, whose number is fixed.

    Raises:
        StudyError: if a claim that is not optional names a quantity which no cell of a problem has measured.
    """
    study, looks = study_of(runs), looks_of(runs)
    verdicts = []
    done, failed = (done_cells(runs), failed_cells(runs)) if looks else ({}, {})
    for problem, cells in measured_cells(runs).items():
        looked = looked_at(study, done[problem], failed.get(problem, set()), looks) if looks else {}
        for claim in study.judged_claims():
            values: dict[int, dict[int, float]] = {}
            bounds: dict[int, dict[int, tuple[float, float]]] = {}
            for cell in cells:
                if claim.quantity in cell.scalars and claim.quantity not in cell.not_asked:
                    values.setdefault(cell.width, {})[cell.seed] = cell.scalars[claim.quantity]
                    bounds.setdefault(cell.width, {})[cell.seed] = cell.bounds(claim.quantity)
            if widths := judged_widths(looked, claim):
                results = [at.result for at in widths]
                verdicts.append(verdict_of(claim, problem, results, values, widths[-1].found.p))
            elif values:
                verdicts.append(judge(claim, problem, values, bounds))
            elif not claim.optional and not any(claim.quantity in cell.not_asked for cell in cells):
                raise StudyError(
                    f"the claim {claim.key!r} of the study {study.name!r} is about {claim.quantity!r}, which no "
                    f"cell of {problem!r} has measured; let measure() find it, or mark the claim optional=True"
                )
    return verdicts


@dataclass(frozen=True)
class NotAsked:
    """A claim that a problem's network cannot be held against.

    Attributes:
        claim: which.
        problem: on which network and data.
        reason: what the network lacks.
    """

    claim: Claim
    problem: str
    reason: str

    @property
    def sentence(self) -> str:
        """One line for a reader."""
        return f"Not asked: {self.reason}."


def not_asked(runs: Runs) -> list[NotAsked]:
    """The claims that were asked nowhere on a problem, each with the reason its cells give."""
    found = []
    for problem, cells in measured_cells(runs).items():
        for claim in study_of(runs).judged_claims():
            asked = [c for c in cells if claim.quantity in c.scalars and claim.quantity not in c.not_asked]
            reasons = [c.not_asked[claim.quantity] for c in cells if claim.quantity in c.not_asked]
            if reasons and not asked:
                found.append(NotAsked(claim, problem, reasons[0].rstrip(".")))
    return found


def measured_cells(runs: Runs, all_seeds: bool = False) -> dict[str, list[Measured]]:
    """What the cells that are done have measured over width, by problem, in the order of the study.

    Cells that vary another setting are not among them: see ``measured_axes``. In a store that was filled by looks
    only the seeds of the first look are: how many more a width has depends on what they say, and intervals of them
    all would not be what they seem.

    Args:
        runs: the results.
        all_seeds: take all that there are.
    """
    study, looks = study_of(runs), looks_of(runs)
    found = done_cells(runs)
    if looks and not all_seeds:
        first = looks.seeds[: looks.first]
        found = {problem: [c for c in cells if c.seed in first] for problem, cells in found.items()}
    return {problem: study.complete(cells) for problem, cells in found.items() if cells}


def done_cells(runs: Runs) -> dict[str, list[Measured]]:
    """The cells over width that are done, as they were measured, by problem in the order of the study."""
    names = problem_names(runs)
    found: dict[str, list[Measured]] = {problem: [] for problem in problem_settings(runs)}
    for stored in runs.cells:
        if stored.state == "done" and stored.directory.name in names:
            found[names[stored.directory.name]].append(Measured.of(stored))
    return found


def failed_cells(runs: Runs) -> dict[str, set[tuple[int, int]]]:
    """Width and seed of the cells over width that failed, by problem."""
    names = problem_names(runs)
    found: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for stored in runs.cells:
        if stored.state == "failed" and stored.directory.name in names:
            found[names[stored.directory.name]].add((stored.cell["width"], stored.cell["seed"]))
    return found
