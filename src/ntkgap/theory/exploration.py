r"""How wide a neural bandit's confidence intervals are, as a function of the round.

With ``g`` the gradient of the network at a context and Z = λI + Σ ggᵀ/m, the upper confidence bound is
f + γ √(gᵀZ⁻¹g/m). Each schedule here is a callable (rounds t, log det Z/det λI) → γ_t.

In the NTK parametrization the factors 1/√m sit inside of the network, the gradients are those of the source
divided by √m, and the network's own learning rate and weight decay are η̃ = mη and λ̃ = λ: their product ηmλ of the
source is η̃λ̃ then. Pass ``learning_rate`` and ``regularization`` of the source here, that is η̃/m and λ̃.
"""

import math
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

from ntkgap.errors import KernelError

# Log det Z/det λI is at least 0; a sum of logarithms may come out below it by so much of rounding.
ROUNDING = 1e-6


@dataclass(frozen=True)
class ConstantExploration:
    """The same γ in every round: what is tuned in practice.

    Attributes:
        gamma: γ ≥ 0.

    Raises:
        KernelError: if γ is negative or not finite.
    """

    gamma: float

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < math.inf:
            raise KernelError(f"gamma must be finite and at least 0, got {self.gamma!r}")

    def __call__(self, rounds: int, log_determinant: float) -> float:
        """The constant γ."""
        return self.gamma


@dataclass(frozen=True)
class InfiniteWidthExploration:
    r"""γ_t of NeuralUCB for m, J → ∞: that of a kernelized bandit with the NTK.

    .. math:: \gamma_t = \nu \sqrt{\log\tfrac{\det Z_t}{\det \lambda I} - 2 \log \delta} + \sqrt{\lambda}\, S

    Attributes:
        nu: ν, the sub-Gaussian scale of the reward's noise.
        delta: δ in (0, 1), how likely the bounds may fail.
        norm_bound: S ≥ √(2hᵀH⁻¹h), of the rewards in the space of the NTK.
        regularization: λ.

    Source: Zhou, Li, Gu 2020, *Neural contextual bandits with UCB-based exploration*, Algorithm 1.

    Raises:
        KernelError: if a number is out of range, also of those it is called with.
    """

    nu: float
    delta: float
    norm_bound: float
    regularization: float
    unit_norm: ClassVar[bool] = True  # of contexts, which the theorem assumes

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, rounds: int, log_determinant: float) -> float:
        """γ after so many rounds."""
        log_determinant = _check_state(rounds, log_determinant)
        confidence = math.sqrt(log_determinant - 2 * math.log(self.delta))
        return self.nu * confidence + math.sqrt(self.regularization) * self.norm_bound


@dataclass(frozen=True)
class ZhouExploration:
    r"""γ_t of NeuralUCB at width m and J training steps, as its regret bound wants it.

    With :math:`a = m^{-1/6}\sqrt{\log m}`,

    .. math::
        \gamma_t = \sqrt{1 + C_1 a L^4 t^{7/6} \lambda^{-7/6}} \Bigl(\nu
        \sqrt{\log\tfrac{\det Z_t}{\det \lambda I} + C_2 a L^4 t^{5/3} \lambda^{-1/6} - 2\log\delta}
        + \sqrt\lambda S\Bigr) + (\lambda + C_3 t L) \Bigl[(1 - \eta m \lambda)^{J/2} \sqrt{t/\lambda}
        + a L^{7/2} t^{5/3} \lambda^{-5/3} (1 + \sqrt{t/\lambda})\Bigr]

    The constants C_1, C_2, C_3 are not known; 1 is a choice. At practical width the terms in a, which vanish for
    m → ∞, are many orders of magnitude larger than the rest.

    Attributes:
        width: m ≥ 2.
        depth: L, the number of layers.
        regularization: λ.
        learning_rate: η of the source, with ηmλ < 1; in the NTK parametrization the network's own divided by m.
        steps: J.
        nu: ν, the sub-Gaussian scale of the reward's noise.
        delta: δ in (0, 1), how likely the bounds may fail.
        norm_bound: S.
        constants: C_1, C_2, C_3.

    Source: Zhou, Li, Gu 2020, *Neural contextual bandits with UCB-based exploration*, Algorithm 1 and its γ_t.

    Raises:
        KernelError: if a number is out of range, also of those it is called with, or ηmλ ≥ 1: training would not
            contract.
    """

    width: int
    depth: int
    regularization: float
    learning_rate: float
    steps: int
    nu: float
    delta: float
    norm_bound: float
    constants: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unit_norm: ClassVar[bool] = True  # of contexts, which the theorem assumes

    def __post_init__(self) -> None:
        _check(self)
        counts = _is_count(self.width, 2) and _is_count(self.depth, 1) and _is_count(self.steps, 0)
        if not counts or not 0 < self.learning_rate < math.inf:
            raise KernelError(
                "integers width ≥ 2, depth ≥ 1, steps ≥ 0 and a finite learning_rate > 0 are needed, got "
                f"{self.width!r}, {self.depth!r}, {self.steps!r}, {self.learning_rate!r}"
            )
        if len(self.constants) != 3 or not all(0 <= c < math.inf for c in self.constants):
            raise KernelError(f"constants must be three finite numbers of at least 0, got {self.constants!r}")
        contraction = self.learning_rate * self.width * self.regularization
        if contraction >= 1:
            raise KernelError(
                f"η·m·λ = {contraction:.4g}, but the schedule needs η·m·λ < 1: below η = "
                f"{1 / (self.width * self.regularization):.4g} here (in the NTK parametrization, where the "
                "network's own learning rate is η·m, divide that by the width first)"
            )

    def __call__(self, rounds: int, log_determinant: float) -> float:
        """γ after so many rounds."""
        parts = self.terms(rounds, log_determinant)
        return parts["confidence"] + parts["optimization"] + parts["linearization"]

    def terms(self, rounds: int, log_determinant: float) -> dict[str, float]:
        """Every term by name.

        γ = confidence + optimization + linearization, where confidence = inflation · (noise + norm).

        Args:
            rounds: t.
            log_determinant: log det Z_t/det λI.

        Raises:
            KernelError: if one of them is negative or not finite.
        """
        log_determinant = _check_state(rounds, log_determinant)
        t, rate, depth = rounds, self.regularization, self.depth
        c1, c2, c3 = self.constants
        a = self.width ** (-1 / 6) * math.sqrt(math.log(self.width))
        inflation = math.sqrt(1 + c1 * a * depth**4 * t ** (7 / 6) * rate ** (-7 / 6))
        correction = c2 * a * depth**4 * t ** (5 / 3) * rate ** (-1 / 6)
        noise = self.nu * math.sqrt(log_determinant + correction - 2 * math.log(self.delta))
        norm = math.sqrt(rate) * self.norm_bound
        outside = rate + c3 * t * depth
        left = (1 - self.learning_rate * self.width * rate) ** (self.steps / 2) * math.sqrt(t / rate)
        drift = a * depth ** (7 / 2) * t ** (5 / 3) * rate ** (-5 / 3) * (1 + math.sqrt(t / rate))
        return {
            "inflation": inflation,
            "noise": noise,
            "norm": norm,
            "confidence": inflation * (noise + norm),
            "optimization": outside * left,
            "linearization": outside * drift,
        }


def _check(schedule: InfiniteWidthExploration | ZhouExploration) -> None:
    if not 0 < schedule.delta < 1:
        raise KernelError(f"delta is a probability between 0 and 1, got {schedule.delta!r}")
    if not 0 < schedule.regularization < math.inf:
        raise KernelError(f"regularization must be positive and finite, got {schedule.regularization!r}")
    if not (0 <= schedule.nu < math.inf and 0 <= schedule.norm_bound < math.inf):
        raise KernelError(
            f"nu and norm_bound must be finite and at least 0, got {schedule.nu!r} and {schedule.norm_bound!r}"
        )


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _check_state(rounds: float, log_determinant: float) -> float:
    """The log determinant without its rounding, once it is sure that there was such a state of a design."""
    if not (0 <= rounds < math.inf and -ROUNDING <= log_determinant < math.inf):
        raise KernelError(
            "a schedule is asked about t ≥ 0 rounds and log det Z/det λI ≥ 0, both finite; got "
            f"{rounds!r} and {log_determinant!r}"
        )
    return max(log_determinant, 0.0)
