"""Rules that take a step along gradients: gradient descent, with or without momentum, and Adam."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

# Of Adam, as in its paper and in torch.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


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
    """The rule of an optimizer.

    Args:
        groups: as ``models.parameter_groups`` gives them: parameters and their learning rate.
        optimizer: ``"adam"``, or any other for gradient descent.
        momentum: of gradient descent.
        weight_decay: λ; λθ is added to the gradient.
    """
    return Adam(groups, weight_decay) if optimizer == "adam" else GradientDescent(groups, momentum, weight_decay)


class _GroupedRule(ABC):
    """What both rules share: groups, weight decay, and what is remembered of each parameter by name.

    Steps of small networks are many and short: torch's own rules cost more than the rest of one, and load torch's
    compiler first, which takes seconds.

    Args:
        groups: ``"params"`` and ``"lr"`` each.
        weight_decay: λ.

    Attributes:
        param_groups: the groups.
    """

    _remembered: tuple[str, ...]

    def __init__(self, groups: Sequence[dict[str, Any]], weight_decay: float) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {"params": list(group["params"]), "lr": float(group["lr"])} for group in groups
        ]
        self._decay = weight_decay
        self._memory: dict[Tensor, dict[str, Any]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Move all parameters that have a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    gradient = p.grad.add(p, alpha=self._decay) if self._decay else p.grad
                    self._move(p, gradient, group["lr"])

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self._parameters():
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, in the order of the parameters; None where there is nothing yet."""
        memory = [self._memory.get(p, {}) for p in self._parameters()]
        return {name: [of.get(name) for of in memory] for name in self._remembered}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it over."""
        self._memory = {}
        for name in self._remembered:
            for p, value in zip(self._parameters(), state_dict[name], strict=True):
                if value is not None:
                    own = value.clone() if isinstance(value, Tensor) else value
                    self._memory.setdefault(p, {})[name] = own

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    @abstractmethod
    def _move(self, p: Tensor, gradient: Tensor, learning_rate: float) -> None: ...


class GradientDescent(_GroupedRule):
    r"""v ← μv + g + λθ, θ ← θ − ηv: what ``torch.optim.SGD`` does, number for number.

    Args:
        groups: ``"params"`` and ``"lr"`` each.
        momentum: μ.
        weight_decay: λ.
    """

    _remembered = ("velocities",)

    def __init__(self, groups: Sequence[dict[str, Any]], momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        super().__init__(groups, weight_decay)
        self._momentum = momentum

    def _move(self, p: Tensor, gradient: Tensor, learning_rate: float) -> None:
        if self._momentum:
            kept = self._memory.setdefault(p, {})
            if "velocities" in kept:
                gradient = kept["velocities"].mul_(self._momentum).add_(gradient)
            else:
                gradient = kept["velocities"] = gradient.clone()
        p.add_(gradient, alpha=-learning_rate)


class Adam(_GroupedRule):
    r"""m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², θ ← θ − η m̂/(√v̂ + ε) with g + λθ for g.

    m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ): what ``torch.optim.Adam`` does by default, number for number.
    Source: Kingma, Ba 2015, *Adam: a method for stochastic optimization*, Algorithm 1.

    Args:
        groups: ``"params"`` and ``"lr"`` each.
        weight_decay: λ.
    """

    _remembered = ("steps", "means", "squares")

    def __init__(self, groups: Sequence[dict[str, Any]], weight_decay: float = 0.0) -> None:
        super().__init__(groups, weight_decay)

    def _move(self, p: Tensor, gradient: Tensor, learning_rate: float) -> None:
        kept = self._memory.get(p)
        if kept is None:
            kept = {"steps": 0, "means": torch.zeros_like(p), "squares": torch.zeros_like(p)}
            self._memory[p] = kept
        kept["steps"] += 1
        kept["means"].lerp_(gradient, 1 - BETA1)
        kept["squares"].mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        unbiased = (kept["squares"].sqrt() / (1 - BETA2 ** kept["steps"]) ** 0.5).add_(EPSILON)
        p.addcdiv_(kept["means"], unbiased, value=-learning_rate / (1 - BETA1 ** kept["steps"]))
