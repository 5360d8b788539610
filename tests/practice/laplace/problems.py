"""Classifiers with the dense matrices of their posterior, and two classes on a line."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from tests.reference.empirical import row_jacobian


def draw(generator, *size):
    return torch.randn(*size, dtype=torch.float64, generator=generator)


class Problem:
    """A random network on random classes, or on soft targets, and the dense matrices of its posterior."""

    def __init__(self, likelihood, n, generator, outputs=3, soft=False):
        outputs = 1 if likelihood == "bernoulli" else outputs
        self.likelihood = likelihood
        self.model = ng.MLP(3, outputs, 5, 2, "tanh", bias_std=0.3, generator=generator).double()
        x, self.test = draw(generator, n, 3), draw(generator, 4, 3)
        if likelihood == "bernoulli":
            y = torch.rand(n, 1, dtype=torch.float64, generator=generator)
            y = y if soft else 2 * y.round() - 1
            classes = None if soft else 2
        else:
            y = F.softmax(2 * draw(generator, n, outputs), dim=1)
            y = y if soft else F.one_hot(y.argmax(1), outputs).double()
            classes = outputs
        self.data = ng.Dataset(x, y, classes)
        self.prior = copy.deepcopy(self.model)
        for p in self.prior.parameters():
            p.data += 0.3 * draw(generator, *p.shape)
        self.rows = row_jacobian(self.model, x)  # [n, C, P]
        self.at_test = row_jacobian(self.model, self.test)

    def step(self, centered):
        theta = torch.cat([p.detach().flatten() for p in self.model.parameters()])
        return theta - torch.cat([p.detach().flatten() for p in self.prior.parameters()]) if centered else theta

    def log_likelihood(self, f):
        y = self.data.y
        if self.likelihood == "categorical":
            return -F.cross_entropy(f, y, reduction="sum")
        y = (y + 1) / 2 if self.data.n_classes else y
        return -F.binary_cross_entropy_with_logits(f, y, reduction="sum")

    def hessian(self, delta):
        """δI + JᵀSJ, with S by differentiating the log likelihood twice, and its slope."""
        f = self.model(self.data.x).detach().requires_grad_()
        curvature = -torch.autograd.functional.hessian(self.log_likelihood, f.detach()).view(f.numel(), -1)
        (slope,) = torch.autograd.grad(self.log_likelihood(f), f)
        j = self.rows.flatten(0, 1)
        return delta * torch.eye(j.shape[1], dtype=j.dtype) + j.T @ curvature @ j, j.T @ slope.flatten()


def fit(problem, **settings):
    return ng.LinearizedLaplace(problem.model, problem.data, likelihood=problem.likelihood, **settings)


def blobs(n=40):
    """Two classes on a line, and a network trained on them by cross-entropy."""
    torch.manual_seed(0)
    x = torch.linspace(-2, 2, n, dtype=torch.float64)[:, None]
    data = ng.Dataset(x, F.one_hot((x[:, 0] > 0).long(), 2).double(), n_classes=2)
    net = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 2)).double()
    return data, net


def fit_of(net, data, **settings):
    return ng.LinearizedLaplace(net, data, **settings)
