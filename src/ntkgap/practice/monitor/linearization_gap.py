"""How far the network has left its linearized model."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.kernels.neutral import neutral
from ntkgap.models.calls import call_arguments
from ntkgap.practice.monitor.networks import step_taken, trained
from ntkgap.practice.training.linearized.network_at_start import Evaluation
from ntkgap.practice.training.linearized.route_check import find_route


def evaluation_of(network: nn.Module, x: Any) -> Evaluation:
    """A call of the network that can be differentiated by its trained parameters."""
    leaves = trained(network)
    held = dict(network.named_parameters()) | dict(network.named_buffers())
    constants = {name: t.detach() for name, t in held.items() if name not in leaves}
    start = tuple(p.detach() for p in leaves.values())
    return Evaluation(network, tuple(leaves), start, constants, call_arguments(network, x))


class Linearization:
    """J(x; θ_0) Δ by one Jacobian-vector product; the way to it is checked against reverse mode once.

    Args:
        start: the network at θ_0, in evaluation mode.
        x: the probe.
        given: the user's own parameters by name, which must not be used in place of those at θ_0.

    Raises:
        ModelError, DataError: if the network has no expansion, or does not take the inputs.
    """

    @neutral()
    def __init__(self, start: nn.Module, x: Any, given: Mapping[str, Tensor] | None = None) -> None:
        evaluation = evaluation_of(start, x)
        with torch.no_grad():
            self.route, writes, _ = find_route(evaluation, given or {})
        self._evaluation = replace(evaluation, writes=writes)

    @neutral()
    def product(self, step: Mapping[str, Tensor]) -> Tensor:
        """J_0 Δ, in the shape of the outputs, for Δ by the names of the trained parameters."""
        return self.along(self._evaluation, step)

    @neutral()
    def at(self, now: nn.Module, x: Any, step: Mapping[str, Tensor]) -> Tensor:
        """J(x; θ_t) Δ at other parameters."""
        return self.along(replace(evaluation_of(now, x), writes=self._evaluation.writes), step)

    def along(self, evaluation: Evaluation, step: Mapping[str, Tensor]) -> Tensor:
        """The derivative of a call in one direction."""
        with torch.no_grad():
            return self.route(evaluation, tuple(step[name] for name in evaluation.names))[1].detach()


def linearization_gap(start: nn.Module, now: nn.Module, x: Any) -> float:
    r"""Gap between a network and its linearized model, relative to what training changed.

    .. math:: \lVert f_t - f_0 - J_0(\theta_t - \theta_0)\rVert \,/\, \lVert f_t - f_0 \rVert

    Zero for a model that is linear in its parameters, of order 1/α in laziness where f_0 = 0 and 1/√m in the width
    in NTK parametrization (Chizat, Oyallon, Bach 2019; Lee et al. 2019). Exact: one Jacobian-vector product.

    Args:
        start: the network at θ_0, in evaluation mode.
        now: the network at θ_t, in evaluation mode, with the running statistics of the time.
        x: the probe.

    Returns:
        The gap; NaN if no output has changed.
    """
    with torch.no_grad():
        change = evaluation_of(now, x).outputs(*trained(now).values())
        change = change - evaluation_of(start, x).outputs(*trained(start).values())
    return gap(change, Linearization(start, x).product(step_taken(start, now)))


def gap(change: Tensor, linear: Tensor) -> float:
    """‖change − linear‖/‖change‖; NaN where nothing changed."""
    moved = float(change.double().norm())
    return float((change - linear).double().norm()) / moved if moved else math.nan
