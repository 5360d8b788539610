"""One cell of the continual-learning study: a network learns a stream, beside what kernels say it would do."""

import torch

from ntkgap.practice.continual import Plain
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.continual.problem import ContinualProblem
from ntkgap.studies.continual.record import ends, record_method, record_prediction, record_stop, record_twin
from ntkgap.studies.continual.stored import StoredScores
from ntkgap.studies.continual.task_start import TaskStart
from ntkgap.studies.findings import Findings
from ntkgap.studies.model import notes_on


def measure(problem: ContinualProblem, width: int, seed: int) -> Findings:
    """Train the network for every stopping time and by every method, and compare with what kernels predict."""
    learner, findings = Learner(problem, width, seed), Findings()
    findings.notes += notes_on(learner.network())
    stops = problem.training.steps
    for stop in stops:
        seen = TaskStart(learner, stop)
        record_stop(learner, stop, learner.train(stop, Plain(), seen), seen, findings)
    if learner.no_limit:
        findings.leave_out(learner.no_limit, "gap_infinite_short", "gap_infinite_long")
    for name, prediction in learner.predictions().items():
        record_prediction(name, prediction, findings)
    if problem.linearized:
        record_twin(learner.train(stops[-1], Plain(), linearized=True), findings)
    ends(findings)
    methods = learner.methods()
    if methods:
        findings.scalars["plain_forgetting"] = findings.scalars["forgetting_long"]
    for name, method in methods.items():
        stored = StoredScores(learner.stream, problem.methods.ogd) if name == "ogd" else None
        runs = learner.train(stops[-1], method, stored)
        record_method(name, runs, None if stored is None else torch.stack(stored.rows), findings)
    if learner.stream.separate_heads:
        findings.scalars["heads_forgetting"] = findings.scalars["forgetting_long"]
    findings.curves["stops"] = [float(stop) for stop in stops]
    return findings
