"""Rules that take a step along gradients: gradient descent, with or without momentum, and Adam."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class UpdateRule(Protocol):
    """What moves parameters along their gradients."""

    def step(self) -> None:
        """Take a step along the gradients at hand."""
        ...

    def zero_grad(self) -> None:
        """Forget the gradients."""
        ...


def update_rule(groups: Sequence[dict[str, Any]], optimizer: str, momentum: float = 0.0) -> UpdateRule:
    """The rule of an optimiser.

    Args:
        groups: as ``models.parameter_groups`` gives them: parameters and their learning rate.
        optimizer: ``"adam"``, or any other for gradient descent.
        momentum: of gradient descent.
    """
    return torch.optim.Adam(list(groups)) if optimizer == "adam" else GradientDescent(groups, momentum)


class GradientDescent:
    r"""v ← μv + g, θ ← θ − ηv: what ``torch.optim.SGD`` does, number for number.

    Steps of small networks are many and short: torch's own costs more than the rest of one, and loads torch's
    compiler first, which takes seconds.

    Args:
        groups: ``"params"`` and ``"lr"`` each.
        momentum: μ.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], momentum: float = 0.0) -> None:
        self._parameters = [(p, float(group["lr"])) for group in groups for p in group["params"]]
        self._momentum = momentum
        self._velocities: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Move all parameters that have a gradient."""
        for p, rate in self._parameters:
            if p.grad is not None:
                p.add_(self._direction(p, p.grad), alpha=-rate)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p, _ in self._parameters:
            p.grad = None

    def _direction(self, p: Tensor, gradient: Tensor) -> Tensor:
        if not self._momentum:
            return gradient
        velocity = self._velocities.get(p)
        if velocity is None:
            velocity = self._velocities[p] = gradient.clone()
        else:
            velocity.mul_(self._momentum).add_(gradient)
        return velocity
