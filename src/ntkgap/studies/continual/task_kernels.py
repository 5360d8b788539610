"""Kernels of one task after the other: K(points, X_t), and what couples a task to later ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from ntkgap.data import TaskStream
from ntkgap.kernels import CrossOperator, empirical_ntk
from ntkgap.studies.continual.points import Points
from ntkgap.theory import AppliedKernel

# Kernels take a backward pass for each output, and products several for each vector: of up to so many outputs the
# kernel is cheaper, above all of convolutions.
FEW = 2


@dataclass(frozen=True)
class TaskKernel:
    """The kernel as the learning of one task needs it.

    Attributes:
        columns: K(points, X_t): [k, n] where outputs share it, else of all pairs of outputs.
        blocks: K(X_s, X_t) of the task itself and of later ones, as far as they are asked for: [n_s, n], or
            [n_s, n, c_s, c] of the outputs that the tasks are about.
    """

    columns: Tensor | AppliedKernel
    blocks: Sequence[Tensor]


Kernel = Callable[[int], TaskKernel]
"""The kernel of task t."""


def limit_kernel(gram: Tensor, points: Points) -> Kernel:
    """Of the kernel Θ on all points, [k, k], which all outputs share."""
    return lambda t: _shared(gram[:, points.train[t]], points, t)


def finite_kernel(
    network: nn.Module, stream: TaskStream, points: Points, full: bool, alone: bool = False
) -> Kernel:
    """Of a network as it is, all pairs of outputs or their mean.

    Args:
        network: in float64; it must not change as long as its kernels are in use.
        stream: T tasks.
        points: all their inputs.
        full: whether all pairs of outputs are asked for.
        alone: whether a task's own block is all that is asked for.
    """
    if full:
        return NetworkKernel(network, stream, points, alone)
    return lambda t: _shared(
        empirical_ntk(network, points.x, points.x[points.train[t]], outputs="mean"), points, t
    )


def _shared(columns: Tensor, points: Points, t: int) -> TaskKernel:
    return TaskKernel(columns, [columns[at] for at in points.train[t:]])


class NetworkKernel:
    """Of a network as it is, all pairs of outputs; see ``finite_kernel``.

    It is formed on training inputs alone. Elsewhere K(x, X) u = J(x) Jᵀ u takes a backward pass at the training
    inputs and a derivative along what that gives, far less than the kernel of all points; but of a few outputs.
    """

    def __init__(self, network: nn.Module, stream: TaskStream, points: Points, alone: bool) -> None:
        self._network, self._stream, self._points, self._alone = network, stream, points, alone
        self._anywhere = CrossOperator(network, points.x)

    def __call__(self, t: int) -> TaskKernel:
        """K(points, X_t).

        Raises:
            NtkgapError: if there is no such kernel.
        """
        train, tasks = self._points.train, self._stream.tasks
        asked = range(t, t + 1 if self._alone else len(tasks))
        x = self._points.x[train[t]]
        if self._stream.n_outputs <= FEW:
            whole = empirical_ntk(self._network, self._points.x, x) if self._alone else self._whole[:, train[t]]
            whole = whole[..., list(tasks[t].columns)]
            return TaskKernel(whole, [whole[train[s]][:, :, list(tasks[s].columns)] for s in asked])
        rows = None if len(asked) == 1 else self._points.x[torch.cat([train[s] for s in asked])]
        found = empirical_ntk(self._network, x if rows is None else rows, x)[..., list(tasks[t].columns)]
        parts = found.split([len(train[s]) for s in asked])
        blocks = [part[:, :, list(tasks[s].columns)] for s, part in zip(asked, parts, strict=True)]
        return TaskKernel(AppliedKernel(blocks[0], partial(self._product, t, found.shape[2])), blocks)

    @cached_property
    def _whole(self) -> Tensor:
        """K(points, X) of the training inputs of all tasks, which come first among the points: [k, T·n, C, C]."""
        return empirical_ntk(self._network, self._points.x, self._points.x[torch.cat(self._points.train)])

    def _product(self, t: int, outputs: int, weights: Tensor) -> Tensor:
        """K(points, X_t) times weights [..., n, c]: [..., k, C]."""
        train, columns = self._points.train[t], list(self._stream.tasks[t].columns)
        whole = weights.new_zeros(*weights.shape[:-1], outputs)
        whole[..., columns] = weights
        return self._anywhere.product(self._points.x[train], whole)
