"""NeuralLinear: Bayesian linear regression on what a network's last hidden layer says."""

import torch
from torch import Generator, Tensor, nn

from ntkgap.errors import ModelError, StudyError
from ntkgap.practice.bandits.policy import Decision, Diverged, Policy
from ntkgap.practice.bandits.reward_model import RewardModel
from ntkgap.practice.bandits.ridge import RidgeModels
from ntkgap.practice.checks import check_count
from ntkgap.practice.training.network_modes import evaluation_mode


class NeuralLinear(Policy):
    r"""Thompson sampling with a Bayesian linear regression for each arm on a network's last hidden features φ(x).

    Weights and noise have a normal–inverse-gamma prior. After n observations of an arm, with Λ and μ as in
    ``RidgeModels``,

    .. math::
        \sigma^2 \sim \mathrm{IG}\bigl(a_0 + \tfrac n2,\;
        b_0 + \tfrac12 (\Sigma r^2 - \mu^\top \Lambda \mu)\bigr), \qquad
        \beta \mid \sigma^2 \sim \mathcal N(\mu, \sigma^2 \Lambda^{-1}).

    Features of all that was seen are computed anew after each training. The expected rewards φᵀβ are drawn in
    place of β, the same in distribution. The intervals reported are one standard deviation wide to either side,
    at the posterior mean of σ².

    Args:
        model: the network and its training.
        arms: K.
        precision: λ of the weights' prior.
        shape: a0 > 1.
        rate: b0 > 0.
        generator: source of the draws; torch's global one if not given.

    Raises:
        StudyError: if a number is out of range; by the methods, if the inputs are of another number of arms.
        ModelError: if the network has no readout whose inputs are features [n, H].

    Source:
        Riquelme, Tucker, Snoek (2018), Deep Bayesian bandits showdown; priors of its released code.
    """

    arms: int

    def __init__(
        self,
        model: RewardModel,
        arms: int,
        *,
        precision: float = 0.25,
        shape: float = 6.0,
        rate: float = 6.0,
        generator: Generator | None = None,
    ) -> None:
        check_count("arms", arms)
        if not (shape > 1 and rate > 0):
            raise StudyError(f"shape must exceed 1 and rate 0, got {shape!r} and {rate!r}")
        self.model, self.arms, self.generator = model, arms, generator
        self.precision, self.shape, self.rate = precision, shape, rate
        self._regressions: RidgeModels | None = None  # made when the number of features is known
        self._chosen: list[int] = []

    def decide(self, context: Tensor, inputs: Tensor) -> Decision:
        """Draw the noise and each arm's expected reward, and take the best."""
        phi = self._features(inputs.to(self.model.device, self.model.dtype))
        mean, variance = self._models(phi.shape[1]).ask(phi if len(phi) > 1 else phi[0])
        a, b = self._noise(phi.shape[1])
        sigma2 = b / torch._standard_gamma(a, generator=self.generator)  # torch.distributions takes no generator
        width = (sigma2 * variance).sqrt()
        draw = mean + width * torch.randn(self.arms, dtype=torch.float64, generator=self.generator)
        if not torch.isfinite(draw).all():
            raise Diverged("the network's features are not finite; lower the learning rate")
        return Decision(self.best(draw), mean, (b / (a - 1) * variance).sqrt())

    def learn(self, context: Tensor, inputs: Tensor, arm: int, reward: float) -> None:
        """Update the arm's regression; after a training of the network, all of them."""
        self._chosen.append(arm)
        if self.model.add(inputs, arm, reward):
            seen, _, rewards = self.model.history()
            phi, chosen, rewards = self._features(seen), torch.tensor(self._chosen), rewards.cpu()
            for a in range(self.arms):
                self._models(phi.shape[1]).refit(a, phi[chosen == a], rewards[chosen == a, 0])
        else:
            phi = self._features(inputs.to(self.model.device, self.model.dtype))
            self._models(phi.shape[1]).add(arm, phi[arm if len(phi) > 1 else 0], reward)

    def _features(self, x: Tensor) -> Tensor:
        return last_hidden_features(self.model.network, x).cpu()

    def _models(self, features: int) -> RidgeModels:
        if self._regressions is None:
            self._regressions = RidgeModels(self.arms, features, self.precision)
        return self._regressions

    def _noise(self, features: int) -> tuple[Tensor, Tensor]:
        """Shape and rate of each arm's σ², [K] each."""
        models = self._models(features)
        return self.shape + models.counts / 2, self.rate + models.residuals().clamp_min(0) / 2


def last_hidden_features(network: nn.Module, x: Tensor) -> Tensor:
    """What a network's readout is fed in evaluation mode, [n, H]; of an antisymmetric one, of its second half.

    Args:
        network: its readout is the last module with parameters of its own.
        x: inputs [n, D].

    Raises:
        ModelError: if the readout was not called, or is fed something else than vectors.
    """
    readout = [m for m in network.modules() if next(m.parameters(recurse=False), None) is not None][-1:]
    if not readout:
        raise ModelError("the network has no parameters and so no readout")
    caught: list[Tensor] = []
    handle = readout[0].register_forward_pre_hook(lambda module, fed: caught.append(fed[0]))
    try:
        with torch.no_grad(), evaluation_mode(network):
            network(x)
    finally:
        handle.remove()
    if not caught or caught[-1].ndim != 2:
        raise ModelError("the network's last module with parameters is no readout that is fed vectors [n, H]")
    return caught[-1]
