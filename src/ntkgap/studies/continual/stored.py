"""What networks score on the training examples that a method has stored."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset, TaskStream, score
from ntkgap.practice.continual.cohort import remembered


class StoredScores:
    """Watches a network learn a stream, and scores it on the training examples that it stores of every task.

    Args:
        stream: T tasks.
        examples: how many of each are stored; all if None.
        seed: of the network, by which they are drawn.

    Attributes:
        rows: scores on all tasks' stored examples after every task, [T] each.
    """

    def __init__(self, stream: TaskStream, examples: int | None, seed: int) -> None:
        self._tasks = []
        for task, lesson in zip(stream.tasks, remembered(stream, examples, seed), strict=True):
            targets = lesson.y[0][:, list(task.columns)]
            self._tasks.append((Dataset(lesson.x[0], targets, task.train.n_classes), task.columns))
        self.rows: list[Tensor] = []

    def __call__(self, phase: int, network: Callable[[int], nn.Module]) -> None:
        """After each task; before the first, phase 0, there is nothing to keep."""
        if phase == 0:
            return
        model = network(0)
        with torch.no_grad():
            self.rows.append(
                torch.stack([score(model(data.x), data, columns) for data, columns in self._tasks]).cpu()
            )
