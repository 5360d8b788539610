"""What is seen at the switch from one task to the next: the kernel there, and what it says of the task to come."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ntkgap.models.devices import in_float64
from ntkgap.practice.continual import KernelSwitches
from ntkgap.studies.continual.learner import Learner
from ntkgap.theory import SequentialRegression


class TaskStart:
    """Watches a network learn a stream.

    Each task is predicted with the kernel that the network has when the task begins, from two functions: from what
    earlier such predictions have made of the network's first function, which predicts what is forgotten; and from
    the network's own function at that time, so that whatever is wrong has happened within the task.

    Args:
        learner: the network.
        stop: steps a task.

    Attributes:
        test: scores after every task on all tasks' test sets as the former predict them, [T] each; NaN from where
            the prediction diverged, as one may whose kernel has grown.
        within: the same by the latter.
    """

    def __init__(self, learner: Learner, stop: int) -> None:
        self._learner, self._stop = learner, stop
        self._asked = "task_start" in learner.kernels
        tested = torch.cat(learner.points.test)
        chosen = torch.linspace(0, len(tested) - 1, min(learner.problem.probes, len(tested))).long()
        self._switches = KernelSwitches(learner.points.x[tested[chosen]], members=1)
        self._carried: Tensor | None = None
        self._bound: float | None = None
        self.test: list[Tensor] = []
        self.within: list[Tensor] = []

    def __call__(self, phase: int, network: Callable[[int], nn.Module]) -> None:
        """Before the first task, phase 0, and after each."""
        model = in_float64(network(0))
        self._switches(phase, lambda i: model)
        if self._asked and phase < len(self._learner.stream) and _is_finite(model):
            self._predict(phase, model)

    def _predict(self, t: int, model: nn.Module) -> None:
        learner, task = self._learner, self._learner.stream.tasks[t]
        with torch.no_grad():
            own = model(learner.points.x)
        carried = own if self._carried is None else self._carried
        lost = not torch.isfinite(carried).all()
        kernel = learner.kernel_of(model, alone=True) if t else learner.initial_kernel
        regression = SequentialRegression(torch.stack([own if lost else carried, own]))
        regression.learn(
            kernel(t).columns,
            learner.points.train[t],
            in_float64(task.train.y),
            columns=task.columns,
            decay=lambda modes: modes.gradient_descent_decay(learner.plan.rates[t], self._stop),
        )
        if self._bound is None:
            self._bound = learner.points.bound(learner.stream, own)
        fine = learner.points.loss(learner.stream, regression.function, t) <= self._bound
        fine[0] &= not lost
        functions = torch.where(fine[:, None, None].to(regression.function.device), regression.function, torch.nan)
        self._carried = functions[0]
        test, _ = learner.points.scores(learner.stream, functions)
        self.test.append(test[0])
        self.within.append(test[1])

    def changes(self) -> tuple[float, float]:
        """Largest ‖K_t − K_{t−1}‖/‖K_{t−1}‖ of all tasks, and ‖K_T − K_0‖/‖K_0‖; NaN as of ``KernelSwitches``."""
        steps = self._switches.change[0]
        largest = math.nan if torch.isnan(steps).any() else float(steps.max())
        return largest, float(self._switches.change_since_start[0, -1])


def _is_finite(network: nn.Module) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in network.parameters())
