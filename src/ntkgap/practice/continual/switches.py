"""How far the kernel moves from task to task."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ntkgap.errors import DataError
from ntkgap.kernels import empirical_ntk, kernel_distance
from ntkgap.practice.training.network_modes import evaluation_mode


class KernelSwitches:
    r"""Empirical kernels of M networks on fixed inputs, in evaluation mode, compared at every task switch.

    An object of this class is called before the first task (phase 0) and after every task (phases 1…P), and then
    holds, with K_t the kernel after phase t,

    .. math:: \frac{\lVert K_t - K_{t-1} \rVert_F}{\lVert K_{t-1} \rVert_F}, \qquad
              \frac{\lVert K_t - K_0 \rVert_F}{\lVert K_0 \rVert_F}, \qquad
              1 - \frac{\langle K_t, K_{t-1} \rangle_F}{\lVert K_t \rVert_F \lVert K_{t-1} \rVert_F} .

    NaN where a network or its kernel is not finite, or the kernel is zero that others are compared with; where all
    units of a network have died the change is 1.

    Args:
        probe: inputs at which kernels are compared, [n, ...].
        members: networks M that are trained side by side.
        outputs: "mean" over outputs, kernels [n, n], or "full", [n, n, C, C].

    Raises:
        DataError: if there is nothing to compare, or phases do not come in order from 0.
    """

    def __init__(self, probe: Tensor, members: int, outputs: Literal["mean", "full"] = "mean") -> None:
        if len(probe) == 0 or members < 1:
            raise DataError(
                f"kernels are compared on at least one input, of at least one network; "
                f"got {len(probe)} and {members}"
            )
        self.probe = probe
        self.members = members
        self.outputs = outputs
        self._start: list[Tensor] = []
        self._previous: list[Tensor] = []
        self._rows: list[list[tuple[float, float, float]]] = []

    def __call__(self, phase: int, network: Callable[[int], nn.Module]) -> None:
        """Take the kernels of all networks after a phase; ``network(i)`` is network i."""
        expected = len(self._rows) + 1 if self._start else 0
        if phase != expected:
            raise DataError(f"kernels are compared from phase to phase: phase {expected} comes next, not {phase}")
        kernels = [self._kernel(network(i)) for i in range(self.members)]
        if phase == 0:
            self._start = kernels
        else:
            self._rows.append(
                [
                    (
                        _change(now, before),
                        _change(now, start),
                        _distance(now, before),
                    )
                    for now, before, start in zip(kernels, self._previous, self._start, strict=True)
                ]
            )
        self._previous = kernels

    def _kernel(self, network: nn.Module) -> Tensor:
        if not all(bool(torch.isfinite(p).all()) for p in network.parameters()):
            return torch.tensor(torch.nan)
        with evaluation_mode(network):
            return empirical_ntk(network, self.probe, outputs=self.outputs).detach().to(torch.float64)

    def _measure(self, which: int) -> Tensor:
        values = [[row[which] for row in rows] for rows in self._rows]
        return torch.tensor(values, dtype=torch.float64).reshape(len(self._rows), self.members).T

    @property
    def change(self) -> Tensor:
        """Relative change over each phase, [M, P]."""
        return self._measure(0)

    @property
    def change_since_start(self) -> Tensor:
        """Relative change since before the first task, [M, P]."""
        return self._measure(1)

    @property
    def distance(self) -> Tensor:
        """Kernel distance over each phase, which ignores scale, [M, P]."""
        return self._measure(2)


def _change(kernel: Tensor, reference: Tensor) -> float:
    """Relative change, also of a kernel that has become zero."""
    size = float(torch.linalg.vector_norm(reference))
    if not size > 0 or not torch.isfinite(kernel).all():
        return math.nan
    return float(torch.linalg.vector_norm(kernel - reference)) / size


def _distance(kernel: Tensor, reference: Tensor) -> float:
    comparable = all(bool(torch.isfinite(k).all()) and bool(k.any()) for k in (kernel, reference))
    return kernel_distance(kernel, reference) if comparable else math.nan
