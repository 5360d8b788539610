"""Every activation, and pairs of variances and correlations to try them on."""

import math
from functools import cache

import torch
from torch import nn

from ntkgap.kernels.infinite.activations import find_activation
from ntkgap.models import nonlinearities

# Every activation with the points where it or its slope is not smooth.
CASES = {
    "relu": (nn.ReLU(), [0]),
    "leaky_relu": (nn.LeakyReLU(0.2), [0]),
    "abs": (nonlinearities.Abs(), [0]),
    "erf": (nonlinearities.Erf(), []),
    "gelu": (nn.GELU(), []),
    "sin": (nonlinearities.Sin(1.2, 0.8, 0.4), []),
    "sine": (nonlinearities.Sin(), []),
    "cos": (nonlinearities.Cos(), []),
    "rbf": (nonlinearities.RBF(0.3), []),
    "exp": (nonlinearities.Exp(), []),
    "exp_square": (nonlinearities.ExpSquare(), []),
    "identity": (nn.Identity(), []),
    "cube": (nonlinearities.Monomial(3), []),
    "polynomial": (nonlinearities.Polynomial([0.3, -1.0, 0.5, 0.2]), []),
    "gelu_tanh": (nn.GELU("tanh"), []),
    "tanh": (nn.Tanh(), []),
    "silu": (nn.SiLU(), []),
    "softplus": (nn.Softplus(), []),
    "sigmoid": (nn.Sigmoid(), []),
    "mish": (nn.Mish(), []),
    "logsigmoid": (nn.LogSigmoid(), []),
    "tanhshrink": (nn.Tanhshrink(), []),
    "elu": (nn.ELU(), [0]),
    "selu": (nn.SELU(), [0]),
    "celu": (nn.CELU(2.0), [0]),
    "softsign": (nn.Softsign(), [0]),
    "hardtanh": (nn.Hardtanh(), [-1, 1]),
    "relu6": (nn.ReLU6(), [0, 6]),
    "hardswish": (nn.Hardswish(), [-3, 3]),
    "hardsigmoid": (nn.Hardsigmoid(), [-3, 3]),
    "softshrink": (nn.Softshrink(), [-0.5, 0.5]),
}
CLOSED = [name for name in CASES if find_activation(CASES[name][0]).closed_form]
SMOOTH_ENOUGH = ["tanh", "silu", "softplus", "elu", "sigmoid", "mish", "gelu_tanh"]
PAIRS = [(0.5, 2.0, -0.4), (9.0, 3.0, 0.97), (1.0, 1.3, 0.9999), (2.0, 2.0, -0.9995)]


@cache
def _shared(name):
    return find_activation(CASES[name][0])


def activation_of(name):
    """The activation of a case, its error forgotten; one for all tests, as finding kinks takes a while."""
    activation = _shared(name)
    activation.error = 0.0
    return activation


def numbers(*values):
    return tuple(torch.tensor([v], dtype=torch.float64) for v in values)


def slope_at_zero(module):
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(module(x.clone()).sum(), x)[0].item()


def pairs_of(generator, dtype=torch.float64, n=5, m=7, top=0.9):
    q1 = 0.5 + torch.rand(n, 1, generator=generator, dtype=torch.float64)
    q2 = 0.5 + torch.rand(1, m, generator=generator, dtype=torch.float64)
    rho = top * (2 * torch.rand(n, m, generator=generator, dtype=torch.float64) - 1)
    return tuple(t.to(dtype) for t in (rho * (q1 * q2).sqrt(), q1, q2))


def activation_mean(module, q, slope):
    """E[φ(u)] or E[φ'(u)], for a u of variance q."""
    if q == 0:
        return slope_at_zero(module) if slope else module(torch.zeros(1, dtype=torch.float64)).item()
    x = torch.linspace(-9, 9, 200000, dtype=torch.float64)
    z = (math.sqrt(q) * x).requires_grad_()
    y = module(z.clone())
    y = torch.autograd.grad(y.sum(), z)[0] if slope else y
    return float(torch.trapezoid(y.detach() * torch.exp(-x.square() / 2), x)) / math.sqrt(2 * math.pi)
