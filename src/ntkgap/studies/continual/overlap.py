"""How far tasks share features, noted while a kernel predicts what is left of them."""

import torch
from torch import Tensor

from ntkgap.data import TaskStream
from ntkgap.studies.continual.points import Kernel, Points


class NotedKernel:
    """A kernel that is asked for one task after the other, and what it says of pairs of tasks.

    Learning task t changes the outputs of task s through K_st, training inputs and outputs of both alone; tasks
    with heads of their own share nothing where the kernel couples no outputs.

    Args:
        kernel: K(points, X_t).
        stream: T tasks.
        points: all their inputs.
    """

    def __init__(self, kernel: Kernel, stream: TaskStream, points: Points) -> None:
        self._kernel, self._stream, self._points = kernel, stream, points
        self._norms = torch.full((len(stream), len(stream)), torch.nan, dtype=torch.float64)

    def __call__(self, t: int) -> Tensor:
        """K(points, X_t) as it is."""
        found = self._kernel(t)
        columns = set(self._stream.tasks[t].columns)
        for s, at in enumerate(self._points.train):
            block, own = found[at], self._stream.tasks[s].columns
            if block.ndim == 4:  # all pairs of outputs, [n_s, n_t, C, c]
                norm = block[:, :, list(own)].norm()
            else:  # Θ_st ⊗ I: the outputs that both tasks use
                norm = block.norm() * len(columns & set(own)) ** 0.5
            self._norms[s, t] = norm
        return found

    def overlap(self) -> Tensor:
        """‖K_st‖ / √(‖K_ss‖ ‖K_tt‖) of all pairs of tasks, [T, T]; NaN where a task's own kernel is zero."""
        own = self._norms.diagonal()
        return self._norms / (own[:, None] * own[None, :]).sqrt()  # 0/0, for then K_st is zero as well
