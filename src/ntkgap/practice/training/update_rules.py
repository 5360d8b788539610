"""Rules that take a step along gradients: gradient descent, with or without momentum, and Adam."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class UpdateRule(Protocol):
    """What moves parameters along their gradients.

    Attributes:
        param_groups: ``"params"`` and their learning rate ``"lr"``, which may be changed between steps.
    """

    param_groups: list[dict[str, Any]]

    def step(self) -> object:
        """Take a step along the gradients at hand."""
        ...

    def zero_grad(self) -> None:
        """Forget the gradients."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What it remembers of earlier steps."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember that."""
        ...


def update_rule(
    groups: Sequence[dict[str, Any]], optimizer: str, momentum: float = 0.0, weight_decay: float = 0.0
) -> UpdateRule:
    """The rule of an optimiser.

    Args:
        groups: as ``models.parameter_groups`` gives them: parameters and their learning rate.
        optimizer: ``"adam"``, or any other for gradient descent.
        momentum: of gradient descent.
        weight_decay: λ; λθ is added to the gradient.
    """
    if optimizer == "adam":
        return torch.optim.Adam(list(groups), weight_decay=weight_decay)
    return GradientDescent(groups, momentum, weight_decay)


class GradientDescent:
    r"""v ← μv + g + λθ, θ ← θ − ηv: what ``torch.optim.SGD`` does, number for number.

    Steps of small networks are many and short: torch's own costs more than the rest of one, and loads torch's
    compiler first, which takes seconds.

    Args:
        groups: ``"params"`` and ``"lr"`` each.
        momentum: μ.
        weight_decay: λ.

    Attributes:
        param_groups: the groups.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {"params": list(group["params"]), "lr": float(group["lr"])} for group in groups
        ]
        self._momentum, self._decay = momentum, weight_decay
        self._velocities: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Move all parameters that have a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(self._direction(p, p.grad), alpha=-group["lr"])

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self._parameters():
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The velocities, in the order of the parameters; None where there is none yet."""
        return {"velocities": [self._velocities.get(p) for p in self._parameters()]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over velocities."""
        pairs = zip(self._parameters(), state_dict["velocities"], strict=True)
        self._velocities = {p: v.clone() for p, v in pairs if v is not None}

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _direction(self, p: Tensor, gradient: Tensor) -> Tensor:
        if self._decay:
            gradient = gradient.add(p, alpha=self._decay)
        if not self._momentum:
            return gradient
        velocity = self._velocities.get(p)
        if velocity is None:
            velocity = self._velocities[p] = gradient.clone()
        else:
            velocity.mul_(self._momentum).add_(gradient)
        return velocity
