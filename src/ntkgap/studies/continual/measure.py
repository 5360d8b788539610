"""Cells of the continual-learning study: networks learn a stream, beside what kernels say they would do."""

from collections.abc import Sequence

import torch

from ntkgap.practice.continual import Plain
from ntkgap.studies.continual.learner import Learner, train_together, train_until
from ntkgap.studies.continual.plan import methods_of
from ntkgap.studies.continual.problem import ContinualProblem
from ntkgap.studies.continual.record import (
    ends,
    note_nothing_learned,
    record_accuracy,
    record_linearized,
    record_method,
    record_prediction,
    record_stop,
)
from ntkgap.studies.continual.stored import StoredScores
from ntkgap.studies.continual.task_start import TaskStart
from ntkgap.studies.findings import Findings
from ntkgap.studies.model import notes_on


def measure(problem: ContinualProblem, width: int, seeds: Sequence[int]) -> list[Findings]:
    """Train networks for every training budget and by every method, and compare with what kernels predict.

    Those of several seeds are trained at once, as one stack.
    """
    learners = [Learner(problem, width, seed) for seed in seeds]
    found = [Findings() for _ in learners]
    plan, stops = learners[0].plan, learners[0].plan.stops
    for learner, findings in zip(learners, found, strict=True):
        findings.notes += notes_on(learner.network())
    for stop in stops:
        seen = [TaskStart(learner, stop) for learner in learners]
        runs = train_together(learners, stop, Plain(), seen)
        for learner, one, watched, findings in zip(learners, runs, seen, found, strict=True):
            record_stop(learner, stop, one, watched, findings)
    for learner, findings in zip(learners, found, strict=True):
        for name, prediction in learner.predictions().items():
            record_prediction(name, prediction, findings)
    if problem.linearized and learners[0].kernels:
        runs = train_together(learners, stops[-1], Plain(), linearized=True)
        for one, findings in zip(runs, found, strict=True):
            record_linearized(one, findings)
    for learner, findings in zip(learners, found, strict=True):
        ends(findings)
        note_nothing_learned(learner, findings)
    for accuracy in plan.accuracies:
        for one, findings in zip(train_until(learners, accuracy), found, strict=True):
            record_accuracy(accuracy, one, findings)
    _try_methods(learners, found)
    for learner, findings in zip(learners, found, strict=True):
        if learner.stream.separate_heads:
            findings.scalars["heads_forgetting"] = findings.scalars["forgetting_long"]
        findings.curves["stops"] = [float(stop) for stop in stops]
        _leave_out(learner, findings)
    return found


def _try_methods(learners: Sequence[Learner], found: Sequence[Findings]) -> None:
    """Train by every method with the largest training budget."""
    plan, asked = learners[0].plan, learners[0].problem.methods
    methods = methods_of(asked)
    for findings in found if methods else ():
        findings.scalars["plain_forgetting"] = findings.scalars["forgetting_long"]
    for name, method in methods.items():
        if reason := plan.left_out(method):
            for findings in found:
                findings.notes.append(f"{name} is left out: {reason}")
                if name == "ogd":
                    findings.leave_out(reason, "ogd_stored_forgetting")
            continue
        stored = [StoredScores(one.stream, asked.ogd, one.seed) for one in learners] if name == "ogd" else None
        runs = train_together(learners, plan.stops[-1], method, stored)
        for i, findings in enumerate(found):
            record_method(name, runs[i], None if stored is None else torch.stack(stored[i].rows), findings)


def _leave_out(learner: Learner, findings: Findings) -> None:
    """Name what the theory is not asked about, and why."""
    if learner.no_limit and learner.kernels:
        findings.leave_out(learner.no_limit, "gap_infinite_short", "gap_infinite_long")
    if reason := learner.unpredictable:
        gaps = [f"gap_{kernel}_{when}" for kernel in learner.problem.kernels for when in ("short", "long")]
        findings.leave_out(
            reason, *gaps, *(["forgetting_gap_initial_long"] if "initial" in learner.problem.kernels else [])
        )
    if reason := learner.plan.unfollowed:
        promised = [name for name in ("heads_forgetting", "ogd_stored_forgetting") if name in findings.scalars]
        findings.leave_out(reason, "kernel_change_long", *promised)
    if len(learner.plan.stops) == 1:
        findings.leave_out("this training has a single stop", "drop_matched_long")
