"""Policies with a linear model for each arm: LinUCB and linear Thompson sampling."""

import torch
from torch import Generator, Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.bandits.policy import Decision, Policy
from ntkgap.practice.bandits.ridge import RidgeModels


class LinUCB(Policy):
    r"""The arm with the largest :math:`x^\top\mu_a + \alpha\sqrt{x^\top\Lambda_a^{-1}x}`.

    Each arm has a ridge regression of its own on the context and a constant (disjoint LinUCB).

    Args:
        arms: K.
        features: d of the contexts.
        alpha: α ≥ 0, width of the confidence intervals.
        precision: λ of the ridge.

    Raises:
        StudyError: if a number is out of range.

    Source:
        Li, Chu, Langford, Schapire (2010), A contextual-bandit approach to personalized news article
        recommendation.
    """

    def __init__(self, arms: int, features: int, *, alpha: float = 1.0, precision: float = 1.0) -> None:
        check_width(alpha=alpha)
        self.alpha, self.models = alpha, RidgeModels(arms, features + 1, precision)

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Take the upper confidence bounds' best."""
        mean, variance = self.models.ask(with_constant(context))
        width = self.alpha * variance.sqrt()
        return Decision(int((mean + width).argmax()), mean, width)

    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Update the arm's regression."""
        self.models.add(arm, with_constant(context), reward)


class LinTS(Policy):
    r"""The best arm by weights drawn from :math:`\mathcal N(\mu_a, \nu^2\Lambda_a^{-1})`, anew in each round.

    Arms are independent, so that their expected rewards are drawn in place of the weights: a normal number each,
    the same in distribution. The intervals reported are one standard deviation wide to either side.

    Args:
        arms: K.
        features: d of the contexts.
        nu: ν ≥ 0, width of the posterior.
        precision: λ of the ridge.
        generator: source of the draws; torch's global one if not given.

    Raises:
        StudyError: if a number is out of range.

    Source:
        Agrawal, Goyal (2013), Thompson sampling for contextual bandits with linear payoffs; a model an arm.
    """

    def __init__(
        self,
        arms: int,
        features: int,
        *,
        nu: float = 1.0,
        precision: float = 1.0,
        generator: Generator | None = None,
    ) -> None:
        check_width(nu=nu)
        self.nu, self.generator = nu, generator
        self.models = RidgeModels(arms, features + 1, precision)

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Draw each arm's expected reward, and take the best."""
        mean, variance = self.models.ask(with_constant(context))
        width = self.nu * variance.sqrt()
        draw = mean + width * torch.randn(len(mean), dtype=torch.float64, generator=self.generator)
        return Decision(int(draw.argmax()), mean, width)

    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Update the arm's regression."""
        self.models.add(arm, with_constant(context), reward)


def with_constant(context: Tensor) -> Tensor:
    """The features (x, 1) of a context x [d]."""
    return torch.cat([context.double(), torch.ones(1, dtype=torch.float64)])


def check_width(**values: float) -> None:
    """Refuse negative and infinite widths of exploration.

    Raises:
        StudyError: naming the first of them.
    """
    for name, value in values.items():
        if not 0 <= value < float("inf"):
            raise StudyError(f"{name} must be finite and at least 0, got {value!r}")
