"""What is seen at the switch from one task to the next: the kernel there, and what it says of the task to come."""

import copy
import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from ntkgap.kernels import empirical_ntk
from ntkgap.studies.continual.learner import Learner
from ntkgap.studies.continual.prediction import finite_kernel
from ntkgap.theory import SequentialRegression


class TaskStart:
    """Watches a network learn a stream.

    Each task is predicted from the network as it is when the task begins, with its own kernel and its own
    function: what such a prediction gets wrong has happened within that task.

    Args:
        learner: the network.
        stop: steps a task.

    Attributes:
        test: predicted scores after every task on all tasks' test sets, [T] each.
        train: the same on the training sets.
        kernels: mean kernel on the probes before the first task and after each, [p, p].
    """

    def __init__(self, learner: Learner, stop: int) -> None:
        self._learner, self._stop = learner, stop
        self._asked = "task_start" in learner.problem.kernels
        tested = torch.cat(learner.points.test)
        chosen = torch.linspace(0, len(tested) - 1, min(learner.problem.probes, len(tested))).long()
        self._probes = learner.points.x[tested[chosen]]
        self.test: list[Tensor] = []
        self.train: list[Tensor] = []
        self.kernels: list[Tensor] = []

    def __call__(self, phase: int, network: Callable[[int], nn.Module]) -> None:
        """Before the first task, phase 0, and after each."""
        model = copy.deepcopy(network(0)).double()
        if not all(torch.isfinite(p).all() for p in model.parameters()):
            return
        self.kernels.append(empirical_ntk(model, self._probes, outputs="mean"))
        if self._asked and phase < len(self._learner.stream):
            self._predict(phase, model)

    def _predict(self, t: int, model: nn.Module) -> None:
        learner, task = self._learner, self._learner.stream.tasks[t]
        with torch.no_grad():
            function = model(learner.points.x)
        kernel = finite_kernel(model, learner.stream, learner.points, learner.problem.full_kernel)
        regression = SequentialRegression(function)
        regression.learn(
            kernel(t),
            learner.points.train[t],
            task.train.y.double(),
            columns=task.columns,
            decay=lambda modes: modes.gradient_descent_decay(learner.rates[t], self._stop),
        )
        test, train = learner.points.scores(learner.stream, regression.function)
        self.test.append(test)
        self.train.append(train)

    def changes(self) -> tuple[float, float]:
        """Largest ‖K_t − K_{t−1}‖/‖K_{t−1}‖ over the tasks, and ‖K_T − K_0‖/‖K_0‖.

        Infinite where training diverged; NaN where all units had died, and there was no kernel to begin with.
        """
        if len(self.kernels) <= len(self._learner.stream):
            return math.inf, math.inf
        steps = [_change(after, before) for before, after in pairwise(self.kernels)]
        largest = math.nan if any(map(math.isnan, steps)) else max(steps)
        return largest, _change(self.kernels[-1], self.kernels[0])


def _change(kernel: Tensor, reference: Tensor) -> float:
    """‖K − K′‖/‖K′‖, of a kernel that may have become zero."""
    size = float(torch.linalg.vector_norm(reference))
    return float(torch.linalg.vector_norm(kernel - reference)) / size if size > 0 else math.nan
