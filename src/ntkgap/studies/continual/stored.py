"""What networks score on the training examples that a method has stored."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset, TaskStream, score


class StoredScores:
    """Watches a network learn a stream, and scores it on the first few training examples of every task.

    Args:
        stream: T tasks.
        examples: how many of each are stored; all if None.

    Attributes:
        rows: scores on all tasks' stored examples after every task, [T] each.
    """

    def __init__(self, stream: TaskStream, examples: int | None) -> None:
        self._tasks = [
            (Dataset(t.train.x[:examples], t.train.y[:examples], t.train.n_classes), t.columns)
            for t in stream.tasks
        ]
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
