"""All inputs of a stream in one place."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.data import TaskStream, score
from ntkgap.models.devices import in_float64
from ntkgap.practice.training.curves import DIVERGENCE_FACTOR


@dataclass(frozen=True)
class Points:
    """All inputs of a stream in one array, and where each task's are. Scores and losses come on the CPU.

    Attributes:
        x: [k, ...], float64.
        train: indices of every task's training inputs, [n] each.
        test: indices of every task's test inputs.
    """

    x: Tensor
    train: tuple[Tensor, ...]
    test: tuple[Tensor, ...]

    @classmethod
    def of(cls, stream: TaskStream) -> "Points":
        """Training inputs of all tasks, then their test inputs."""
        parts = [
            in_float64(data.x) for data in (*(t.train for t in stream.tasks), *(t.test for t in stream.tasks))
        ]
        at = torch.arange(sum(map(len, parts))).split([len(part) for part in parts])
        return cls(torch.cat(parts), at[: len(stream)], at[len(stream) :])

    def scores(self, stream: TaskStream, function: Tensor) -> tuple[Tensor, Tensor]:
        """Scores on all tasks' test sets and training sets, [..., T] each, of functions [..., k, C]."""
        tested = [
            score(function[..., i, :], t.test, t.columns) for i, t in zip(self.test, stream.tasks, strict=True)
        ]
        fitted = [
            score(function[..., i, :], t.train, t.columns) for i, t in zip(self.train, stream.tasks, strict=True)
        ]
        return torch.stack(tested, dim=-1).cpu(), torch.stack(fitted, dim=-1).cpu()

    def loss(self, stream: TaskStream, function: Tensor, t: int) -> Tensor:
        """½‖f − y‖² on the training set of task t, [...], of functions [..., k, C]."""
        task = stream.tasks[t]
        outputs = function[..., self.train[t], :][..., list(task.columns)].double()
        return 0.5 * (outputs - in_float64(task.train.y)).square().sum(dim=(-2, -1)).cpu()

    def bound(self, stream: TaskStream, initial: Tensor) -> float:
        """The loss on a task above which training has diverged, as of networks: a million times f_0's on all."""
        return DIVERGENCE_FACTOR * sum(float(self.loss(stream, initial, t)) for t in range(len(stream)))
