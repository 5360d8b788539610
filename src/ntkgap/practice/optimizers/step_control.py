r"""How far a natural gradient step goes: fixed, searched for, or damped until the linearized network is right.

With w = (K + λI)⁻¹ r the step −η Jᵀw changes the outputs of the linearized network by −η (r − λw), so that its
loss falls by η rᵀs − ½η²‖s‖², s = r − λw. What the network's own loss does beside that decides.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.practice.optimizers.gram_systems import GramSystem
from ntkgap.practice.training.curves import NoStepError
from ntkgap.practice.training.losses import outputs_like, squared_loss

STEP_SIZES = tuple(2.0**-k for k in range(11))

# The fraction of the predicted reduction that a step size has to deliver.
DELIVERED = 0.5

# Of the mean eigenvalue, where adaptive damping begins; it finds its own level within a few steps.
INITIAL_DAMPING = 1e-3

# Each rejection multiplies the damping by twice the factor of the one before: by 2^66 after so many.
MOST_REJECTIONS = 11


class Walker:
    """Moves the parameters of a network away from where they are, and back."""

    def __init__(self, model: nn.Module, data: Dataset) -> None:
        self._model, self._data = model, data
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._start: dict[str, Tensor] = {}

    def go(self, direction: dict[str, Tensor], learning_rate: float) -> None:
        """θ ← θ − η · direction."""
        with torch.no_grad():
            for name, p in self._parameters.items():
                p.sub_(direction[name], alpha=learning_rate)

    def remember(self) -> None:
        """Note where the parameters are; tries begin there."""
        self._start = {name: p.detach().clone() for name, p in self._parameters.items()}

    def back(self) -> None:
        """Return there."""
        with torch.no_grad():
            for name, p in self._parameters.items():
                p.copy_(self._start[name])

    def loss_after(self, direction: dict[str, Tensor], learning_rate: float) -> float:
        """Go from there, and stay; ½‖f − y‖² at the new place."""
        self.back()
        self.go(direction, learning_rate)
        with torch.no_grad():
            return squared_loss(outputs_like(self._model(self._data.x), self._data.y), self._data.y).item()


class StepControl(Protocol):
    """Takes one step after the other."""

    def step(self, system: GramSystem, walker: Walker) -> tuple[float, float]:
        """Take a step; returns its learning rate and damping.

        Raises:
            NoStepError: if there is none; the parameters are then where they were.
        """
        ...


@dataclass(frozen=True)
class FixedStep:
    """The same learning rate and damping in every step."""

    learning_rate: float
    damping: float

    def step(self, system: GramSystem, walker: Walker) -> tuple[float, float]:
        """Take it, whatever the loss does."""
        walker.go(system.direction(system.solve(self.damping)), self.learning_rate)
        return self.learning_rate, self.damping


@dataclass(frozen=True)
class SearchedLearningRate:
    """The largest of 1, ½, ¼, … that delivers at least half of the reduction predicted for it."""

    damping: float

    def step(self, system: GramSystem, walker: Walker) -> tuple[float, float]:
        """Try the learning rates from the largest to the smallest."""
        weights = system.solve(self.damping)
        direction = system.direction(weights)
        before = squared_norm(system.residual) / 2
        walker.remember()
        for learning_rate in STEP_SIZES:
            predicted = predicted_reduction(system.residual, weights, self.damping, learning_rate)
            if before - walker.loss_after(direction, learning_rate) >= DELIVERED * predicted:
                return learning_rate, self.damping
        walker.back()
        raise NoStepError(
            f"no learning rate from 1 to {STEP_SIZES[-1]:g} reduces the loss as predicted",
            "set a damping, or the loss is as small as this precision allows",
        )


@dataclass
class AdaptiveDamping:
    """Levenberg–Marquardt: λ follows the ratio of actual to predicted reduction (Nielsen 1999).

    A step with a positive ratio ρ is taken, and λ multiplied by max(⅓, 1 − (2ρ − 1)³); otherwise λ is
    multiplied by 2, 4, 8, … until there is one.

    Attributes:
        learning_rate: η of every step.
        damping: λ of the next step; set from the first Gram matrix.
    """

    learning_rate: float
    damping: float | None = None

    def step(self, system: GramSystem, walker: Walker) -> tuple[float, float]:
        """Try the damping at hand, and larger ones until the loss falls."""
        if self.damping is None:
            self.damping = INITIAL_DAMPING * system.mean_eigenvalue()
        before = squared_norm(system.residual) / 2
        walker.remember()
        for rejections in range(MOST_REJECTIONS + 1):
            tried = self.damping
            ratio = self._ratio(system, walker, before, tried)
            if ratio > 0:
                self.damping = tried * max(1 / 3, 1 - (2 * ratio - 1) ** 3)
                return self.learning_rate, tried
            self.damping = tried * 2.0 ** (rejections + 1)
        walker.back()
        raise NoStepError(
            f"no damping up to {tried:.1e} reduces the loss",
            "lower the learning rate, or the loss is as small as this precision allows",
        )

    def _ratio(self, system: GramSystem, walker: Walker, before: float, damping: float) -> float:
        """Actual over predicted reduction; 0 where the system cannot be solved."""
        try:
            weights = system.solve(damping)
        except NoStepError:
            return 0.0
        actual = before - walker.loss_after(system.direction(weights), self.learning_rate)
        predicted = predicted_reduction(system.residual, weights, damping, self.learning_rate)
        return actual / predicted if predicted > 0 else 0.0


def predicted_reduction(residual: Tensor, weights: Tensor, damping: float, learning_rate: float) -> float:
    """How much the loss of the linearized network falls: η rᵀs − ½η²‖s‖², s = r − λw, all [n, C]."""
    change = residual - damping * weights
    return learning_rate * (residual * change).sum().item() - learning_rate**2 / 2 * squared_norm(change)


def squared_norm(x: Tensor) -> float:
    """‖x‖²."""
    return x.square().sum().item()
