"""How far tasks share features, noted while a kernel predicts what is left of them."""

import torch
from torch import Tensor

from ntkgap.data import TaskStream
from ntkgap.studies.continual.task_kernels import Kernel
from ntkgap.theory import AppliedKernel


class NotedKernel:
    """A kernel that is asked for one task after the other, and what it says of pairs of tasks.

    Learning task t changes the outputs of task s through K_st, training inputs and outputs of both alone; tasks
    with heads of their own share nothing where the kernel couples no outputs.

    Args:
        kernel: of every task.
        stream: T tasks.
    """

    def __init__(self, kernel: Kernel, stream: TaskStream) -> None:
        self._kernel, self._stream = kernel, stream
        self._norms = torch.full((len(stream), len(stream)), torch.nan, dtype=torch.float64)

    def __call__(self, t: int) -> Tensor | AppliedKernel:
        """K(points, X_t) as it is."""
        found = self._kernel(t)
        columns = set(self._stream.tasks[t].columns)
        for s, block in enumerate(found.blocks, start=t):
            norm = block.norm()
            if block.ndim == 2:  # Θ_st ⊗ I: the outputs that both tasks use
                norm = norm * len(columns & set(self._stream.tasks[s].columns)) ** 0.5
            self._norms[s, t] = self._norms[t, s] = norm
        return found.columns

    def overlap(self) -> Tensor:
        """‖K_st‖ / √(‖K_ss‖ ‖K_tt‖) of all pairs of tasks, [T, T]; NaN where a task's own kernel is zero."""
        own = self._norms.diagonal()
        return self._norms / (own[:, None] * own[None, :]).sqrt()  # 0/0, for then K_st is zero as well
