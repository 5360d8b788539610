"""Neural bandits as they are written down: explicit gradients and a P × P matrix."""

import copy

import torch

from ntkgap.models import MLP
from ntkgap.practice.bandits import Environment, RewardModel, RewardTraining


def game(encoding, rounds=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    contexts = torch.randn(rounds, 2, dtype=torch.float64, generator=generator)
    means = contexts @ torch.randn(2, 3, dtype=torch.float64, generator=generator)
    noise = 0.1 * torch.randn(rounds, 3, dtype=torch.float64, generator=generator)
    return Environment(contexts, means, means + noise, encoding)


def reward_model(environment, regularization=0.3, **training):
    torch.manual_seed(1)
    network = MLP(environment.in_features, environment.out_features, width=6, depth=2, bias_std=0.3)
    settings = RewardTraining(**({"steps": 20, "learning_rate": 0.2, "every": 3} | training))
    return RewardModel(network.double(), settings, regularization=regularization)


def values_and_gradients(network, inputs):
    """f [K] and its gradients [K, P]."""
    network = copy.deepcopy(network).double()
    values = network(inputs.double()).flatten()
    rows = [torch.autograd.grad(v, list(network.parameters()), retain_graph=True) for v in values]
    return values.detach(), torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def flat(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()]).double()


class DenseGame:
    """What was played so far, and Z from it, with gradients taken at the three places."""

    def __init__(self, environment, model):
        self.environment, self.model = environment, model
        self.chosen, self.rewards, self.at_selection = [], [], []

    def note(self, round_, arm):
        inputs = self.environment.inputs(round_)
        self.at_selection.append(values_and_gradients(self.model.network, inputs)[1][arm])
        self.chosen.append((inputs, arm))
        self.rewards.append(float(self.environment.rewards[round_, arm]))

    def seen(self, network):
        """Values [t] and gradients [t, P] of all chosen arms at a network's parameters."""
        found = [(values_and_gradients(network, inputs), arm) for inputs, arm in self.chosen]
        return torch.stack([v[arm] for (v, _), arm in found]), torch.stack([g[arm] for (_, g), arm in found])

    def gradients(self, at):
        if not self.chosen:
            return torch.zeros(0, flat(self.model.network).numel(), dtype=torch.float64)
        if at == "selection":
            return torch.stack(self.at_selection)
        return self.seen(self.model.initial if at == "initial" else self.model.network)[1]

    def z(self, at, rate, factor=1.0):
        g = self.gradients(at)
        return rate * torch.eye(g.shape[1], dtype=torch.float64) + g.mT @ g / factor
