"""Bandits that explore by the linearized Laplace approximation of their network."""

import math
from abc import abstractmethod

import torch
from torch import Generator, Tensor

from ntkgap.errors import StudyError
from ntkgap.linalg import Evidence
from ntkgap.practice.bandits.design import FullDesign
from ntkgap.practice.bandits.gradients import FactoredGradients
from ntkgap.practice.bandits.neural_ucb import NeuralPolicy
from ntkgap.practice.bandits.policy import Decision
from ntkgap.practice.bandits.reward_model import RewardModel


class LaplacePolicy(NeuralPolicy):
    r"""What Laplace-UCB and Laplace-TS share: the posterior of the network linearized at its present parameters.

    With prior N(θ₀, I/δ) and noise σ² the variance of an arm's expected reward is

    .. math::
        g^\top (\delta I + \sigma^{-2} J^\top J)^{-1} g
        = \delta^{-1} \bigl(k_{**} - k^\top (K + \delta\sigma^2 I)^{-1} k\bigr)

    with J the gradients of all chosen arms at the present θ, and the network is trained with the penalty
    ½δσ²‖θ − θ₀‖² that makes its optimum the most probable θ. In NeuralUCB's terms this is
    λ = δσ²/m, gradients at ``"current"``, and γ = βσ: the evidence sets the schedule that theory bounds.

    Args:
        model: the network. Its ``regularization`` is set to δσ², and again whenever the evidence changes it.
        scale: β, by which standard deviations are multiplied.
        prior_precision: δ; estimated by the evidence where it is None, from 1 on.
        noise_variance: σ²; estimated by the evidence where it is None, from 1 on.
        evidence_every: rounds from one maximization of the evidence to the next, each at the first training after;
            a maximization is an eigendecomposition, O(t³).
        noise_bounds: fractions of the rewards' mean square between which σ² is estimated. A network that fits
            everything it has seen finds that there is no noise, and then explores nothing; without bounds eight
            decades either way.

    Attributes:
        prior_precision: δ in use.
        noise_variance: σ² in use.
        log_evidence: at the last maximum; NaN before there was one.
        at_edge: whether the last maximum was on the bounds of the search.

    Source: Immer, Bauer, Fortuin, Rätsch, Khan 2021, *Scalable marginal likelihood estimation for model selection
    in deep learning* (online maximization of the evidence); Wenger, Dangel, Kristiadi 2023 for its use here.

    Raises:
        StudyError: if a number is out of range.
    """

    def __init__(
        self,
        model: RewardModel,
        *,
        scale: float = 1.0,
        prior_precision: float | None = None,
        noise_variance: float | None = None,
        evidence_every: int = 1,
        noise_bounds: tuple[float, float] | None = None,
    ) -> None:
        for name, value in {"prior_precision": prior_precision, "noise_variance": noise_variance}.items():
            if value is not None and not 0 < value < math.inf:
                raise StudyError(f"{name} must be positive and finite, or None to estimate it; got {value!r}")
        if evidence_every < 1 or not 0 <= scale < math.inf:
            raise StudyError(f"evidence_every ≥ 1 and scale ≥ 0 are needed, got {evidence_every!r} and {scale!r}")
        if noise_bounds is not None and not 0 < noise_bounds[0] < noise_bounds[1] < math.inf:
            raise StudyError(f"noise_bounds must be two positive numbers, ascending; got {noise_bounds!r}")
        self.noise_bounds = noise_bounds
        self.fixed = {"prior_precision": prior_precision, "noise_variance": noise_variance}
        self.prior_precision, self.noise_variance = prior_precision or 1.0, noise_variance or 1.0
        self.log_evidence, self.at_edge = math.nan, False
        model.regularization = self.prior_precision * self.noise_variance
        self.scale = scale
        super().__init__(model, self._exploration, at="current")
        self._every, self._next = evidence_every, evidence_every

    @abstractmethod
    def choose(self, mean: Tensor, width: Tensor) -> Decision:
        """The arm, from expected rewards and posterior standard deviations over σ, [K] each."""

    def diagnose(self) -> dict[str, float]:
        """As of every neural policy, with the hyperparameters and whether the evidence decided them."""
        return super().diagnose() | {
            "prior_precision": self.prior_precision,
            "noise_variance": self.noise_variance,
            "log_evidence": self.log_evidence,
            "evidence_at_edge": float(self.at_edge),
        }

    def _exploration(self, rounds: int, log_determinant: float) -> float:
        """The factor γ = βσ."""
        return self.scale * math.sqrt(self.noise_variance)

    def _linearize(self) -> None:
        """Linearize anew, and maximize the evidence if it is time."""
        inputs, outputs, rewards = self.model.history()
        values, gradients = self._present.at(inputs, outputs)
        gram = gradients.products(gradients)
        if None in self.fixed.values() and self.model.seen >= self._next:
            self._maximize_evidence(gram, values, gradients, rewards.double().cpu())
            self._next = self.model.seen + self._every
        self.design = FullDesign(self.model.regularization)
        self.design.replace(gradients, gram)

    def _maximize_evidence(
        self, gram: Tensor, values: Tensor, gradients: FactoredGradients, rewards: Tensor
    ) -> None:
        """Take δ and σ² of the greatest evidence of ỹ = r − f + J(θ − θ₀)."""
        pairs = zip(self.model.network.named_parameters(), self.model.initial.parameters(), strict=True)
        change = {name: p.detach().double() - start.detach().double() for (name, p), start in pairs}
        evidence = Evidence(gram, rewards[:, 0] - values + gradients.along(change))
        precisions, noises = evidence.default_bounds
        if self.noise_bounds is not None:
            scale = float(rewards.square().mean()) or 1.0  # where nothing was paid yet, any will do
            noises = self.noise_bounds[0] * scale, self.noise_bounds[1] * scale
        found = evidence.maximum(self.fixed["prior_precision"], self.fixed["noise_variance"], (precisions, noises))
        self.prior_precision, self.noise_variance = found.prior_precision, found.noise_variance
        self.log_evidence, self.at_edge = found.log_evidence, found.at_edge
        self.model.regularization = self.prior_precision * self.noise_variance


class LaplaceUCB(LaplacePolicy):
    """Chooses the arm with the largest f + β · posterior standard deviation."""

    def choose(self, mean: Tensor, width: Tensor) -> Decision:
        """The largest upper bound; intervals are mean ± β standard deviations."""
        half_width = self.factor * width
        return Decision(self.best(mean + half_width), mean, half_width)


class LaplaceTS(LaplacePolicy):
    """Chooses the arm with the largest draw from N(f, β² · posterior variance), each arm's on its own.

    Args:
        model: as for ``LaplacePolicy``, with its other arguments.
        generator: source of the draws; torch's global one if not given.
        settings: as for ``LaplacePolicy``.
    """

    def __init__(
        self, model: RewardModel, *, generator: Generator | None = None, **settings: float | None
    ) -> None:
        super().__init__(model, **settings)  # type: ignore[arg-type]  # passed on as they came
        self._generator = generator

    def choose(self, mean: Tensor, width: Tensor) -> Decision:
        """The largest draw; intervals are mean ± one standard deviation of the draws."""
        std = self.factor * width
        drawn = mean + std * torch.randn(mean.shape, dtype=torch.float64, generator=self._generator)
        return Decision(self.best(drawn), mean, std)
