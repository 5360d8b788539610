"""Networks of physics and approximation: residuals, operators, splines."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, Constant, Net, floats, linear, net, several, shared, stack


def potential(m, x):
    return m.b(torch.tanh(m.a(x)))[:, 0]


def heat_residual(m, x):
    """u_t − u_xx by autograd inside of the network."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (first,) = torch.autograd.grad(potential(m, x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first[:, 0].sum(), x, create_graph=True)
        return first[:, 1] - second[:, 0]


def force(m, x):
    """Minus the gradient of an energy."""
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(potential(m, x).sum(), x, create_graph=True)
    return -gradient


def hamiltonian(m, x):
    gradient = torch.func.vmap(torch.func.grad(lambda z: potential(m, z[None])[0]))(x)
    return torch.cat([gradient[:, 2:], -gradient[:, :2]], 1)


def derivative_by_jvp(m, x):
    def f(z):
        return m.b(torch.tanh(m.a(z)))

    return torch.func.jvp(f, (x,), (torch.ones_like(x),))[1]


def hard_boundary(m, x):
    return x.prod(-1, keepdim=True) * m.b(torch.tanh(m.a(x)))


def fourier_features(m, x):
    z = 2 * math.pi * x @ m.frequencies
    return m.out(torch.cat([z.sin(), z.cos()], -1))


def trained_frequencies(m, x):
    z = x @ m.w + m.phase
    return (m.amplitude * torch.cos(z)) @ m.v


def radial(m, x):
    d = (x[:, None] - m.centers).square().sum(-1)
    return m.out(torch.exp(-d * m.log_width.exp()))


def radial_by_cdist(m, x):
    return m.out(torch.exp(-torch.cdist(x, m.centers)))


def spectral_convolution(m, x):
    """Modes multiplied by complex weights, held as pairs of real ones (Li et al. 2021)."""
    modes = torch.fft.rfft(m.lift(x).mT)[..., :3]
    weights = torch.view_as_complex(m.w)
    mixed = torch.einsum("nim,iom->nom", modes, weights)
    h = torch.fft.irfft(F.pad(mixed, (0, 2)), n=8).mT + m.local(m.lift(x))
    return m.project(F.gelu(h))[..., 0]


def operator_network(m, function, points):
    """Branch of the function, trunk of points that are the same for all."""
    return m.branch(function) @ m.trunk(points).T + m.bias


def operator_network_own_points(m, function, point):
    return (m.branch(function) * m.trunk(point)).sum(-1)


def hat_splines(m, x):
    """Kolmogorov–Arnold: a learned piecewise linear function on every edge."""
    basis = F.relu(1 - (x.tanh()[..., None] * 2 - m.grid).abs())
    return torch.einsum("nig,iog->no", basis, m.c) + F.silu(x) @ m.w


def polynomial_edges(m, x):
    z = torch.tanh(x)
    basis = torch.stack([torch.ones_like(z), z, 2 * z * z - 1, 4 * z**3 - 3 * z], -1)
    return torch.einsum("nik,iok->no", basis, m.c)


def lagrangian(m, x):
    """Second derivatives by torch.func."""

    def energy(z):
        return potential(m, z[None])[0]

    return torch.func.vmap(torch.func.hessian(energy))(x)


TWO = {"a": linear(2, 6), "b": linear(6, 1)}


CASES = [
    Case("residual of the heat equation", net(heat_residual, **TWO), floats(2), idle=("b.bias",)),
    Case("forces of an energy", net(force, **TWO), floats(2), idle=("b.bias",)),
    Case("Hamiltonian network", net(hamiltonian, a=linear(4, 6), b=linear(6, 1)), floats(4), idle=("b.bias",)),
    Case("derivative by jvp", net(derivative_by_jvp, a=linear(2, 6), b=linear(6, 2)), floats(2), idle=("b.bias",)),
    Case("Hessian of an energy", net(lagrangian, **TWO), floats(2), idle=("b.bias",)),
    Case("boundary values built in", net(hard_boundary, **TWO), floats(2)),
    Case(
        "Fourier features",
        lambda: Net(fourier_features, frequencies=Constant(torch.randn(2, 4)), out=nn.Linear(8, 2)),
        floats(2),
    ),
    Case(
        "trained frequencies", net(trained_frequencies, w=(2, 6), phase=(6,), amplitude=(6,), v=(6, 2)), floats(2)
    ),
    Case("radial basis functions", net(radial, centers=(5, 3), log_width=(5,), out=linear(5, 2)), floats(3)),
    Case("radial basis functions by cdist", net(radial_by_cdist, centers=(5, 3), out=linear(5, 2)), floats(3)),
    Case(
        "Fourier neural operator",
        net(spectral_convolution, lift=linear(1, 3), w=(3, 3, 3, 2), local=linear(3, 3), project=linear(3, 1)),
        floats(8, 1),
    ),
    Case(
        "operator network, shared points",
        net(operator_network, branch=linear(5, 4), trunk=stack(linear(1, 4), nn.Tanh), bias=()),
        several(floats(5), shared(torch.linspace(0, 1, 6)[:, None])),
    ),
    Case(
        "operator network, own points",
        net(operator_network_own_points, branch=linear(5, 4), trunk=stack(linear(1, 4), nn.Tanh)),
        several(function=floats(5), point=floats(1)),
    ),
    Case(
        "splines on edges",
        net(hat_splines, c=(3, 2, 5), w=(3, 2), grid=lambda: Constant(torch.linspace(-2, 2, 5))),
        floats(3),
    ),
    Case("polynomials on edges", net(polynomial_edges, c=(3, 2, 4)), floats(3)),
]
