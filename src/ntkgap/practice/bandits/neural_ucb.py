"""Neural contextual bandits that explore by the gradients of their network: NeuralUCB and NeuralTS."""

import math
from abc import abstractmethod
from typing import Any, Literal, Self

import torch
from torch import Generator, Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.bandits.design import Design, DiagonalDesign, FullDesign
from ntkgap.practice.bandits.environment import UNIT_NORM_TOLERANCE
from ntkgap.practice.bandits.gradient_source import GradientSource
from ntkgap.practice.bandits.gradients import FactoredGradients
from ntkgap.practice.bandits.mean_rewards import KernelRidgeMean, LinearizedMean, MeanRewards, NetworkMean
from ntkgap.practice.bandits.policy import Decision, Diverged, Exploration, Policy, constant_exploration
from ntkgap.practice.bandits.policy_drift import drift
from ntkgap.practice.bandits.reward_model import RewardModel

At = Literal["selection", "initial", "current"]
Mean = Literal["network", "linearized", "kernel_ridge"]


class NeuralPolicy(Policy):
    r"""What NeuralUCB and NeuralTS share: expected rewards f, and widths √(gᵀZ⁻¹g/m) with Z = λI + Σ ggᵀ/m.

    Args:
        model: the network. Its ``regularization`` is mλ, which makes its penalty ½mλ‖θ − θ₀‖².
        exploration: (rounds seen, log det Z/det λI) → the factor of the widths; a number stands for a constant.
        at: where the gradients in Z are taken: ``"selection"`` at the parameters of the round in which the arm was
            chosen (as in both papers), ``"initial"`` at θ₀ (the kernel regime), ``"current"`` all anew after each
            training (what a linearized Laplace approximation does). The gradient of an arm that is being judged
            is at θ₀ for ``"initial"``, at the present parameters otherwise.
        mean: f is that of the ``"network"``, of the linearized network trained for the same number of steps
            (``"linearized"``), or of that one trained to the end (``"kernel_ridge"``).
        design: ``"full"``, or ``"diagonal"``: Z_pp alone is kept.
        width_factor: m; 1 in the NTK parametrization, the width in the papers' own (see ``design``).
        regularization: λ, where it shall differ from that of the model's penalty.
        unit_norm: whether to insist on inputs of norm 1, of which the regret theorems are; a schedule with such an
            attribute that is true insists as well.

    Raises:
        StudyError: if λ is not positive, a choice is unknown, or the model has learned already; by ``decide``, if
            inputs have not the norm that is insisted on; by ``learn``, if somebody else trains the model.
        Diverged: by ``decide`` and ``learn``, if the network gives no finite numbers.
    """

    def __init__(
        self,
        model: RewardModel,
        exploration: Exploration | float,
        *,
        at: At = "selection",
        mean: Mean = "network",
        design: Literal["full", "diagonal"] = "full",
        width_factor: float = 1.0,
        regularization: float | None = None,
        unit_norm: bool = False,
    ) -> None:
        if model.seen:
            raise StudyError(f"the model has learned from {model.seen} rounds already; give each policy a new one")
        if not 0 < width_factor < math.inf:
            raise StudyError(f"width_factor must be positive and finite, got {width_factor!r}")
        rate = model.regularization / width_factor if regularization is None else regularization
        if not 0 < rate < math.inf or (mean == "kernel_ridge" and model.regularization == 0):
            raise StudyError(
                f"λ must be positive and finite, got {rate!r} (and mλ = {model.regularization!r} of the model's "
                "penalty); give the RewardModel a regularization"
            )
        if at not in ("selection", "initial", "current") or mean not in ("network", "linearized", "kernel_ridge"):
            raise StudyError(
                f"at must be 'selection', 'initial' or 'current', and mean 'network', 'linearized' or "
                f"'kernel_ridge'; got {at!r} and {mean!r}"
            )
        if design not in ("full", "diagonal"):
            raise StudyError(f"design must be 'full' or 'diagonal', got {design!r}")
        self.model, self.at = model, at
        self.unit_norm = unit_norm or bool(getattr(exploration, "unit_norm", False))
        self._rounds = 0
        self.exploration = constant_exploration(exploration)
        self._initial = GradientSource(model.initial, self._ahead)
        self._present = GradientSource(model.network, self._until_training)
        self.design: Design = (FullDesign if design == "full" else DiagonalDesign)(rate, width_factor)
        self._mean: MeanRewards = {
            "network": lambda: NetworkMean(model),
            "linearized": lambda: LinearizedMean(model, self._initial),
            "kernel_ridge": lambda: KernelRidgeMean(model, self._initial),
        }[mean]()

    @property
    def factor(self) -> float:
        """What the widths are multiplied by now (γ of NeuralUCB, ν of NeuralTS)."""
        return self.exploration(self.model.seen, self.design.log_determinant())

    @abstractmethod
    def choose(self, mean: Tensor, width: Tensor) -> Decision:
        """The arm, from expected rewards and widths √(gᵀZ⁻¹g/m), [K] each in float64."""

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Choose by expected rewards and widths."""
        if self.unit_norm:
            _check_unit_norm(inputs)
        mean = self._mean.predict(inputs).double()
        width = self.design.squared_width(self._gradients(inputs)).sqrt()
        if not (torch.isfinite(mean).all() and torch.isfinite(width).all()):
            raise Diverged("expected rewards or their widths are not finite; lower the learning rate")
        return self.choose(mean, width)

    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Add the chosen arm's gradient to Z, note the reward, and train if it is time."""
        if self.model.seen != self._rounds:
            raise StudyError("the model learns from another policy too; give each policy a RewardModel of its own")
        self._rounds += 1
        self.design.take(self._gradients(inputs), arm)
        trained = self.model.add(inputs, arm, reward)
        self._mean.learn(inputs, arm, reward, trained)
        if trained:
            self._present.refresh()
            if self.at == "current":
                self._linearize()

    def diagnose(self) -> dict[str, float]:
        """How far the network is from its linearization at θ₀ (see ``drift``), and how it explores."""
        found = drift(self.model, self._initial, self._present) if self.model.seen else {}
        return found | {"log_determinant": self.design.log_determinant(), "exploration": self.factor}

    def _linearize(self) -> None:
        """Take the gradients of all that was seen at the present parameters."""
        seen, outputs, _ = self.model.history()
        self.design.replace(self._present.at(seen, outputs)[1])

    def _ahead(self, rounds: int) -> list[Tensor]:
        """What the network will be fed in so many rounds after this."""
        return [] if self.coming is None else self.coming(self._rounds + 1, self._rounds + 1 + rounds)

    def _until_training(self, rounds: int) -> list[Tensor]:
        """The same, up to the next training at most."""
        every = self.model.training.every
        return self._ahead(min(rounds, every - self._rounds % every - 1))

    def _gradients(self, inputs: Tensor) -> FactoredGradients:
        return (self._initial if self.at == "initial" else self._present)(inputs)[1]


class NeuralUCB(NeuralPolicy):
    r"""Chooses the arm with the largest upper confidence bound f + γ √(gᵀZ⁻¹g/m).

    Source: Zhou, Li, Gu 2020, *Neural contextual bandits with UCB-based exploration*, Algorithm 1.
    """

    def choose(self, mean: Tensor, width: Tensor) -> Decision:
        """The largest upper bound; intervals are mean ± γ √(gᵀZ⁻¹g/m)."""
        half_width = self.factor * width
        return Decision(self.best(mean + half_width), mean, half_width)

    @classmethod
    def paper_faithful(
        cls, model: RewardModel, exploration: Exploration | float, *, width_factor: float = 1.0
    ) -> Self:
        """Algorithm 1: all of Z, gradients at selection, the network's mean, inputs of norm 1.

        The model should be trained every round, from θ₀, by full-batch gradient descent with λ > 0. Its loss is
        the paper's over the rounds t seen, so that a learning rate here is t times the paper's η.

        Raises:
            StudyError: if the model's training differs from that.
        """
        training = model.training
        if (training.every, training.start, training.batch_size) != (1, "initial", None) or (
            training.optimizer == "adam"
        ):
            raise StudyError(
                "the paper's algorithm trains every round from θ₀ by full-batch gradient descent; got "
                f"every={training.every}, start={training.start!r}, optimizer={training.optimizer!r}, "
                f"batch_size={training.batch_size}"
            )
        return cls(model, exploration, width_factor=width_factor, unit_norm=True)

    @classmethod
    def released_code(cls, model: RewardModel, *, nu: float = 1.0, regularization: float = 1e-3) -> Self:
        r"""The bonus of the authors' released code: f + √(λν Σ_p g_p²/U_p) with U = λ + Σ g².

        A diagonal design without 1/m, gradients at selection, and a factor √(λν) that never changes. Beside that
        the code differs from the paper in its training, which is the ``RewardModel``'s affair: from the current
        weights, by single examples in shuffled order, at most 1000 updates, every round up to 2000 and every
        hundredth from then on, and with a weight decay of λ toward zero, not toward θ₀. Here the pull is
        toward θ₀, the examples of minibatches are drawn with replacement, and one interval between trainings
        holds for all rounds: expect the same behavior, not the same numbers.

        Args:
            model: trained with ``start="current"``.
            nu: ν.
            regularization: λ of the design.

        Raises:
            StudyError: if the model's training starts anew each time, or λν is negative.
        """
        if model.training.start != "current":
            raise StudyError("the released code trains from the current weights; use start='current'")
        if not 0 <= nu < math.inf:
            raise StudyError(f"nu must be finite and at least 0, got {nu!r}")
        return cls(model, math.sqrt(regularization * nu), design="diagonal", regularization=regularization)


class NeuralTS(NeuralPolicy):
    r"""Chooses the arm with the largest draw from N(f, ν²σ²), σ² = λ gᵀZ⁻¹g/m, each arm's on its own.

    The factor ν is what ``exploration`` gives.
    Source: Zhang, Zhou, Li, Gu 2021, *Neural Thompson sampling*, Algorithm 1.

    Args:
        model: as for ``NeuralPolicy``, with the other switches there.
        exploration: ν, a number or a schedule.
        generator: source of the draws; torch's global one if not given.
        switches: as for ``NeuralPolicy``.
    """

    def __init__(
        self,
        model: RewardModel,
        exploration: Exploration | float,
        *,
        generator: Generator | None = None,
        **switches: Any,
    ) -> None:
        super().__init__(model, exploration, **switches)
        self._generator = generator

    def choose(self, mean: Tensor, width: Tensor) -> Decision:
        """The largest draw; intervals are mean ± νσ, one standard deviation of the draws."""
        std = self.factor * math.sqrt(self.design.regularization) * width
        drawn = mean + std * torch.randn(mean.shape, dtype=torch.float64, generator=self._generator)
        return Decision(self.best(drawn), mean, std)


def _check_unit_norm(inputs: Tensor) -> None:
    """Refuse inputs [k, D] that the regret theorems are not about."""
    norms = inputs.flatten(1).norm(dim=1)
    if ((norms - 1).abs() > UNIT_NORM_TOLERANCE).any():
        raise StudyError(
            f"the regret theorem is about contexts of norm 1, but here is one of norm {float(norms.max()):.4g}; "
            "use environment.normalized() or environment.lifted() (features='unit_norm' or 'lifted')"
        )
