"""One cell of the continual-learning study: a network learns a stream, beside what kernels say it would do."""

import torch

from ntkgap.practice.continual import Plain
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.continual.plan import methods_of
from ntkgap.studies.continual.problem import ContinualProblem
from ntkgap.studies.continual.record import (
    ends,
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


def measure(problem: ContinualProblem, width: int, seed: int) -> Findings:
    """Train the network for every training budget and by every method, and compare with what kernels predict."""
    learner, findings = Learner(problem, width, seed), Findings()
    findings.notes += notes_on(learner.network())
    stops = learner.plan.stops
    for stop in stops:
        seen = TaskStart(learner, stop)
        record_stop(learner, stop, learner.train(stop, Plain(), seen), seen, findings)
    for name, prediction in learner.predictions().items():
        record_prediction(name, prediction, findings)
    if problem.linearized and learner.kernels:
        record_linearized(learner.train(stops[-1], Plain(), linearized=True), findings)
    ends(findings)
    for accuracy in learner.plan.accuracies:
        record_accuracy(accuracy, learner.train_until(accuracy), findings)
    _try_methods(learner, findings)
    if learner.stream.separate_heads:
        findings.scalars["heads_forgetting"] = findings.scalars["forgetting_long"]
    findings.curves["stops"] = [float(stop) for stop in stops]
    _leave_out(learner, findings)
    return findings


def _try_methods(learner: Learner, findings: Findings) -> None:
    """Train by every method with the largest training budget."""
    asked, methods = learner.problem.methods, methods_of(learner.problem.methods)
    if methods:
        findings.scalars["plain_forgetting"] = findings.scalars["forgetting_long"]
    for name, method in methods.items():
        if reason := learner.plan.left_out(method):
            findings.notes.append(f"{name} is left out: {reason}")
            if name == "ogd":
                findings.leave_out(reason, "ogd_stored_forgetting")
            continue
        stored = StoredScores(learner.stream, asked.ogd, learner.seed) if name == "ogd" else None
        runs = learner.train(learner.plan.stops[-1], method, stored)
        record_method(name, runs, None if stored is None else torch.stack(stored.rows), findings)


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
