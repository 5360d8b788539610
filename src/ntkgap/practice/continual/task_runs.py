"""What networks said of all tasks, task after task."""

from dataclasses import dataclass, fields
from typing import Self

from torch import Tensor

from ntkgap.one_line import one_line


@dataclass(frozen=True)
class TaskRuns:
    """Scores of M networks, each trained on a stream of T tasks in P phases.

    A phase is a task; joint training has a single one, on all tasks. A score is an accuracy, or for regression the
    explained variance; NaN from where a network diverged.

    Attributes:
        scores: on the test set of task s after phase t, [M, P, T]: R for methods that learn task by task.
        train_scores: the same on the training sets, [M, P, T].
        initial: test scores before the first phase, [M, T].
        initial_losses: loss on every task's training set before the first phase, summed over examples, [M, T].
        train_losses: ½‖f − y‖² or cross-entropy on the training set of the phase's task at the end of the phase,
            summed over examples, [M, P].
        steps: updates that each phase took, [M, P].
        moved: ‖θ_t − θ_{t−1}‖ over each phase, [M, P].
        distance: ‖θ_t − θ_0‖ after each phase, [M, P].
        diverged: which networks diverged, [M].
        curve_steps: updates that each network had taken since the first phase began where the curves stand,
            [M, K]; they stay where a network waits for others.
        curves: test scores there, [M, K, T].
    """

    scores: Tensor
    train_scores: Tensor
    initial: Tensor
    initial_losses: Tensor
    train_losses: Tensor
    steps: Tensor
    moved: Tensor
    distance: Tensor
    diverged: Tensor
    curve_steps: Tensor
    curves: Tensor

    __repr__ = one_line

    def of(self, i: int) -> Self:
        """Those of network i alone."""
        return type(self)(**{field.name: getattr(self, field.name)[i : i + 1] for field in fields(self)})
