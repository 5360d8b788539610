"""Policies with a linear model for each arm: LinUCB and linear Thompson sampling."""

from abc import abstractmethod

import torch
from torch import Generator, Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.bandits.policy import Decision, Policy
from ntkgap.practice.bandits.ridge import RidgeModels


class LinearPolicy(Policy):
    """What LinUCB and linear Thompson sampling share: a ridge regression an arm, on the context and a constant.

    Args:
        arms: K.
        features: d of the contexts.
        precision: λ of the ridge.
        every: rounds from one update of the means to the next, as networks are trained now and then; widths always
            know of all rounds.

    Raises:
        StudyError: if a number is out of range.
    """

    def __init__(self, arms: int, features: int, *, precision: float, every: int) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise StudyError(f"every must be an integer of at least 1 round, got {every!r}")
        self.models, self.every = RidgeModels(arms, features + 1, precision), every
        self._means = torch.zeros(arms, features + 1, dtype=torch.float64)
        self._rounds, self._untold = 0, set[int]()  # arms whose means do not know of all rounds

    @abstractmethod
    def choose(self, mean: Tensor, std: Tensor) -> Decision:
        """The arm, from expected rewards and posterior standard deviations in units of σ, [K] each."""

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Ask the regressions."""
        phi = with_constant(context)
        _, variance = self.models.ask(phi)
        return self.choose(self._means @ phi, variance.sqrt())

    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Update the arm's regression, and the means if it is time."""
        self.models.add(arm, with_constant(context), reward)
        self._rounds += 1
        self._untold.add(arm)
        if self._rounds % self.every == 0:
            for changed in self._untold:
                self._means[changed] = self.models.mean(changed)
            self._untold.clear()


class LinUCB(LinearPolicy):
    r"""The arm with the largest :math:`x^\top\mu_a + \alpha\sqrt{x^\top\Lambda_a^{-1}x}`.

    Each arm has a ridge regression of its own on the context and a constant (disjoint LinUCB).

    Args:
        arms: K.
        features: d of the contexts.
        alpha: α ≥ 0, width of the confidence intervals.
        precision: λ of the ridge.
        every: rounds from one update of the means to the next; 1 as in the paper.

    Raises:
        StudyError: if a number is out of range.

    Source:
        Li, Chu, Langford, Schapire (2010), A contextual-bandit approach to personalized news article
        recommendation.
    """

    def __init__(
        self, arms: int, features: int, *, alpha: float = 1.0, precision: float = 1.0, every: int = 1
    ) -> None:
        check_width(alpha=alpha)
        super().__init__(arms, features, precision=precision, every=every)
        self.alpha = alpha

    def choose(self, mean: Tensor, std: Tensor) -> Decision:
        """Take the upper confidence bounds' best."""
        width = self.alpha * std
        return Decision(self.best(mean + width), mean, width)


class LinTS(LinearPolicy):
    r"""The best arm by weights drawn from :math:`\mathcal N(\mu_a, \nu^2\Lambda_a^{-1})`, anew in each round.

    Arms are independent, so that their expected rewards are drawn in place of the weights: a normal number each,
    the same in distribution. The intervals reported are one standard deviation wide to either side.

    Args:
        arms: K.
        features: d of the contexts.
        nu: ν ≥ 0, width of the posterior.
        precision: λ of the ridge.
        every: rounds from one update of the means to the next; 1 as in the paper.
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
        every: int = 1,
        generator: Generator | None = None,
    ) -> None:
        check_width(nu=nu)
        super().__init__(arms, features, precision=precision, every=every)
        self.nu, self.generator = nu, generator

    def choose(self, mean: Tensor, std: Tensor) -> Decision:
        """Draw each arm's expected reward, and take the best."""
        width = self.nu * std
        draw = mean + width * torch.randn(len(mean), dtype=torch.float64, generator=self.generator)
        return Decision(self.best(draw), mean, width)


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
