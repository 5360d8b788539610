"""Bayesian linear regressions, one an arm, that take in one observation after the other."""

import torch
from torch import Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.checks import check_count

# Rank-one updates of an inverse lose digits; after so many of them it is computed afresh.
REFRESH = 128


class RidgeModels:
    r"""For each arm a the weights' posterior N(μ_a, σ² Λ_a⁻¹), with features φ of what was seen there:

    .. math::
        \Lambda_a = \lambda I + \Sigma\varphi\varphi^\top, \qquad \mu_a = \Lambda_a^{-1} \Sigma r \varphi

    Λ_a⁻¹ follows by the Sherman–Morrison formula in float64, d² multiplications an observation, and by a fresh
    Cholesky factorization each 128 observations of an arm.

    Args:
        arms: K.
        features: d.
        precision: λ > 0.

    Attributes:
        arms: K.
        features: d.
        counts: observations of each arm, [K].
        squares: Σ r² of each arm, [K].

    Raises:
        StudyError: if K or d is no integer of at least 1, or λ is not positive; by the methods, if features are
            of another number, or the arm is none of these.
    """

    def __init__(self, arms: int, features: int, precision: float) -> None:
        check_count("arms", arms)
        check_count("features", features)
        if not 0 < precision < float("inf"):
            raise StudyError(f"the prior precision must be positive and finite, got {precision!r}")
        self.arms, self.features = arms, features
        eye = torch.eye(features, dtype=torch.float64)
        self.precision = precision
        self._gram = (precision * eye).repeat(arms, 1, 1)  # Λ, [K, d, d]
        self._inverse = (eye / precision).repeat(arms, 1, 1)
        self._moment = torch.zeros(arms, features, dtype=torch.float64)  # Σ r φ
        self.counts = torch.zeros(arms, dtype=torch.float64)
        self.squares = torch.zeros(arms, dtype=torch.float64)

    def ask(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Expected rewards φᵀμ_a and their variances φᵀΛ_a⁻¹φ in units of σ², [K] each.

        Args:
            features: φ for all arms, [d], or of each, [K, d].
        """
        self._check(features, (self.features,), (self.arms, self.features))
        phi = features.double()
        # One product of a tall matrix is twice as fast as one for each arm.
        solved = self._inverse @ phi if phi.ndim == 1 else (self._inverse @ phi[:, :, None])[:, :, 0]
        return (solved * self._moment).sum(1), (solved * phi).sum(1)

    def add(self, arm: int, features: Tensor, reward: float) -> None:
        """Take in what an arm paid at φ [d]."""
        self._check(features, (self.features,), arm=arm)
        phi = features.double()
        self._gram[arm].addr_(phi, phi)
        self._note(arm, phi, reward)
        if self.counts[arm] % REFRESH == 0:
            self._refresh(arm)
        else:
            solved = self._inverse[arm] @ phi
            self._inverse[arm].addr_(solved, solved, alpha=-1 / (1 + float(solved @ phi)))

    def refit(self, arm: int, features: Tensor, rewards: Tensor) -> None:
        """Forget what was seen of an arm, and take in features [n, d] and rewards [n] in its place."""
        self._check(features, (len(rewards), self.features), arm=arm)
        phi, r = features.double(), rewards.double()
        self._gram[arm] = phi.mT @ phi + self.precision * torch.eye(phi.shape[1], dtype=torch.float64)
        self._moment[arm], self.counts[arm], self.squares[arm] = phi.mT @ r, len(r), r @ r
        self._refresh(arm)

    def mean(self, arm: int) -> Tensor:
        """μ_a, [d]."""
        return self._inverse[arm] @ self._moment[arm]

    def residuals(self) -> Tensor:
        """Σr² − μᵀΛμ of each arm, [K]: what fit and prior leave unexplained."""
        means = (self._inverse @ self._moment[:, :, None])[:, :, 0]
        return self.squares - (means * self._moment).sum(1)

    def _check(self, features: Tensor, *shapes: tuple[int, ...], arm: int = 0) -> None:
        """Refuse features of another shape than these, which would be broadcast or stop with a bare error."""
        if tuple(features.shape) not in shapes:
            raise StudyError(
                f"the regressions are of {self.features} features for {self.arms} arms, but were given features "
                f"of shape {list(features.shape)}; build the policy for as many features and arms as the "
                "environment has (where it adds a constant to the context, both numbers count that too)"
            )
        if not 0 <= arm < self.arms:
            raise StudyError(f"the regressions are for {self.arms} arms, but arm {arm} was given")

    def _note(self, arm: int, phi: Tensor, reward: float) -> None:
        self._moment[arm] += reward * phi
        self.counts[arm] += 1
        self.squares[arm] += reward**2

    def _refresh(self, arm: int) -> None:
        self._inverse[arm] = torch.cholesky_inverse(torch.linalg.cholesky(self._gram[arm]))
