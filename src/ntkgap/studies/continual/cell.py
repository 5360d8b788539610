"""One cell of the continual-learning study: a network learns a stream, beside what kernels say it would do."""

from typing import Any

import torch

from ntkgap.practice.continual import Plain
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.continual.record import ends, record_method, record_prediction, record_stop, record_twin
from ntkgap.studies.continual.stored import StoredScores
from ntkgap.studies.continual.study import problem_of
from ntkgap.studies.continual.task_start import TaskStart
from ntkgap.studies.findings import Findings


def compute(cell: dict[str, Any]) -> dict[str, Any]:
    """Measure one cell; the same configuration always gives the same numbers.

    Args:
        cell: configuration made by ``ContinualStudy.cells``.

    Returns:
        ``scalars``, ``curves``, ``notes`` and ``diverged``. A scalar is NaN where it could not be decided and
        infinite where training diverged.
    """
    problem = problem_of(cell)
    learner, findings = Learner(problem, cell["width"], cell["seed"]), Findings()
    stops = problem.training.steps
    for stop in stops:
        seen = TaskStart(learner, stop)
        record_stop(learner, stop, learner.train(stop, Plain(), seen), seen, findings)
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
    return findings.result()
