"""Training of linear models f = Φw with Gaussian random starts, in the space of the weights: exact and slow.

For w_0 ~ N(0, S) the kernels are K = ΦΦᵀ (tangent) and Σ = ΦSΦᵀ (of the start), so that everything that is
predicted from kernels can be had from the weights' mean and covariance instead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class LinearProblem:
    """Features of n training and k test points, a prior over weights, targets."""

    train: Tensor  # [n, P]
    test: Tensor  # [k, P]
    prior: Tensor  # S, [P, P]
    y: Tensor  # [n, C]

    def tangent(self, a, b):
        return a @ b.T

    def nngp(self, a, b):
        return a @ self.prior @ b.T

    def function(self, x, mean, covariance):
        """Mean [k, C] and covariance [k, k] of Φw on features x, from those of w."""
        return x @ mean, x @ covariance @ x.T


def linear_problem(generator, n=7, k=4, features=12, outputs=2):
    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    root = draw(features, features) / features**0.5
    return LinearProblem(draw(n, features), draw(k, features), root @ root.T, draw(n, outputs))


def descend(problem, learning_rate, steps, start=None):
    """Mean and covariance of the weights after so many steps w ← w − η Φᵀ(Φw − y), carried along step by step."""
    p = problem
    keep = torch.eye(len(p.prior), dtype=torch.float64) - learning_rate * p.train.T @ p.train
    mean = p.prior.new_zeros(len(p.prior), p.y.shape[1]) if start is None else start
    covariance = p.prior
    for _ in range(steps):
        mean = mean - learning_rate * p.train.T @ (p.train @ mean - p.y)
        covariance = keep @ covariance @ keep
    return mean, covariance


def flow(problem, time):
    """The same for gradient flow: dw/dt = Φᵀ(y − Φw) as one linear system in (w, 1), by ``matrix_exp``."""
    p = problem
    size, outputs = len(p.prior), p.y.shape[1]
    system = torch.zeros(size + outputs, size + outputs, dtype=torch.float64)
    system[:size, :size] = -p.train.T @ p.train
    system[:size, size:] = p.train.T @ p.y
    moved = torch.linalg.matrix_exp(system * time)
    keep = moved[:size, :size]
    return moved[:size, size:], keep @ p.prior @ keep.T


def ridge(problem, noise_variance):
    """Mean and covariance of argmin ‖Φw − y − ε‖² + σ²‖w − w_0‖² over w_0 ~ N(0, S) and ε ~ N(0, σ²)."""
    p = problem
    inverse = torch.linalg.inv(p.train.T @ p.train + noise_variance * torch.eye(len(p.prior)).double())
    spread = noise_variance * p.train.T @ p.train + noise_variance**2 * p.prior
    return inverse @ p.train.T @ p.y, inverse @ spread @ inverse


def posterior(problem, noise_variance):
    """Mean and covariance of the weights given y = Φw + ε, w ~ N(0, S): Bayes' rule in precision form."""
    p = problem
    precision = torch.linalg.inv(p.prior) + p.train.T @ p.train / noise_variance
    covariance = torch.linalg.inv(precision)
    return covariance @ p.train.T @ p.y / noise_variance, covariance
