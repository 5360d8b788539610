"""What a policy expects arms to pay: by its network, or by what the network would be in the kernel regime."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ntkgap.errors import StudyError
from ntkgap.linalg import SequentialPosterior
from ntkgap.models import parameter_groups
from ntkgap.practice.bandits.gradient_source import GradientSource
from ntkgap.practice.bandits.gradients import GradientHistory
from ntkgap.practice.bandits.reward_model import RewardModel


class MeanRewards(ABC):
    """Expected rewards of all arms, learned from those that were paid."""

    @abstractmethod
    def predict(self, inputs: Tensor) -> Tensor:
        """Expected reward of every arm, [K]."""

    def learn(self, inputs: Tensor, arm: int, reward: float, trained: bool) -> None:
        """Take in what the chosen arm paid, after the network was told and perhaps trained."""
        return None


class NetworkMean(MeanRewards):
    """What the network says."""

    def __init__(self, model: RewardModel) -> None:
        self._model = model

    def predict(self, inputs: Tensor) -> Tensor:
        """f(x; θ), [K]."""
        return self._model.predict(inputs)


class KernelRidgeMean(MeanRewards):
    r"""The linearized network, trained to the end: kernel ridge regression with the NTK at θ₀.

    .. math:: f(x; \theta_0) + k(x)^\top (K + m\lambda I)^{-1} (r - f(X; \theta_0))

    Args:
        model: the network, whose regularization is mλ > 0.
        initial: its gradients at θ₀.
    """

    def __init__(self, model: RewardModel, initial: GradientSource) -> None:
        self._initial, self._history = initial, GradientHistory()
        self._posterior = SequentialPosterior(model.regularization)

    def predict(self, inputs: Tensor) -> Tensor:
        """Expected reward of every arm, [K]."""
        values, gradients = self._initial(inputs)
        return values + self._posterior.mean(self._history.products(gradients))

    def learn(self, inputs: Tensor, arm: int, reward: float, trained: bool) -> None:
        """One row more."""
        values, gradients = self._initial(inputs)
        cross = self._history.products(gradients)[:, arm]
        self._posterior.append(cross, gradients.squared_norms()[arm], reward - float(values[arm]))
        self._history.append(gradients, arm)


class LinearizedMean(MeanRewards):
    r"""The linearized network, trained exactly as the network is: as many steps, at the same learning rate.

    Gradient descent moves it in the span of the seen gradients, θ − θ₀ = Σ α_s g_s, and α moves by
    −(η/t)(Kα + f(X; θ₀) − r + mλα) a step. J steps cost Jt² multiplications.

    Args:
        model: the network with its training, which must be full-batch gradient descent.
        initial: its gradients at θ₀.

    Raises:
        StudyError: if the training is no gradient descent with one learning rate.
    """

    def __init__(self, model: RewardModel, initial: GradientSource) -> None:
        groups = parameter_groups(model.initial, model.training.learning_rate, "gd")
        if model.training.optimizer == "adam" or model.training.batch_size is not None or len(groups) > 1:
            raise StudyError(
                "a linearized mean is computed for full-batch gradient descent with one learning rate; choose the "
                "optimizer 'gd' and a parametrization without learning rates of its layers' own"
            )
        self._model, self._initial, self._history = model, initial, GradientHistory()
        self._factor = groups[0]["lr"] / model.training.learning_rate
        self._gram = torch.zeros(64, 64, dtype=torch.float64)
        self._residual: list[float] = []  # f(x; θ₀) − r
        self._weights = torch.zeros(0, dtype=torch.float64)  # α

    def predict(self, inputs: Tensor) -> Tensor:
        """Expected reward of every arm, [K]."""
        values, gradients = self._initial(inputs)
        return values + self._history.products(gradients)[: len(self._weights)].mT @ self._weights

    def learn(self, inputs: Tensor, arm: int, reward: float, trained: bool) -> None:
        """One row more, and J steps if the network made them."""
        values, gradients = self._initial(inputs)
        t = len(self._history)
        if t == len(self._gram):
            self._gram = torch.nn.functional.pad(self._gram, (0, t, 0, t))
        row = self._history.products(gradients)[:, arm]
        self._gram[t, :t] = self._gram[:t, t] = row
        self._gram[t, t] = gradients.squared_norms()[arm]
        self._residual.append(float(values[arm]) - reward)
        self._history.append(gradients, arm)
        if trained:
            self._train()

    def _train(self) -> None:
        t, rate = len(self._history), self._model.regularization
        start = torch.zeros(t, dtype=torch.float64)
        if self._model.training.start == "current":
            start[: len(self._weights)] = self._weights
        gram, residual = self._gram[:t, :t], torch.tensor(self._residual, dtype=torch.float64)
        learning_rate = self._factor * self._model.step_size
        for _ in range(self._model.training.steps):
            start = start - learning_rate / t * (gram @ start + residual + rate * start)
        self._weights = start
