"""What is seen at the switch from one task to the next: the kernel there, and what it says of the task to come."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ntkgap.practice.continual import KernelSwitches
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
    """

    def __init__(self, learner: Learner, stop: int) -> None:
        self._learner, self._stop = learner, stop
        self._asked = "task_start" in learner.problem.kernels
        tested = torch.cat(learner.points.test)
        chosen = torch.linspace(0, len(tested) - 1, min(learner.problem.probes, len(tested))).long()
        self._switches = KernelSwitches(learner.points.x[tested[chosen]], members=1)
        self.test: list[Tensor] = []
        self.train: list[Tensor] = []

    def __call__(self, phase: int, network: Callable[[int], nn.Module]) -> None:
        """Before the first task, phase 0, and after each."""
        model = network(0).double()
        self._switches(phase, lambda i: model)
        if self._asked and phase < len(self._learner.stream) and _is_finite(model):
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
        """Largest ‖K_t − K_{t−1}‖/‖K_{t−1}‖ of all tasks, and ‖K_T − K_0‖/‖K_0‖; NaN as of ``KernelSwitches``."""
        steps = self._switches.change[0]
        largest = math.nan if torch.isnan(steps).any() else float(steps.max())
        return largest, float(self._switches.change_since_start[0, -1])


def _is_finite(network: nn.Module) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in network.parameters())
