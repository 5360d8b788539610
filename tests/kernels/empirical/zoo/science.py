"""Networks of physics, statistics and approximation: residuals, operators, splines, densities."""

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
    d = (x[:, None] - m.centres).square().sum(-1)
    return m.out(torch.exp(-d * m.log_width.exp()))


def radial_by_cdist(m, x):
    return m.out(torch.exp(-torch.cdist(x, m.centres)))


def prototypes(m, x):
    """Minus the squared distances to learned centroids."""
    return -torch.cdist(torch.tanh(m.a(x)), m.centroids).square()


def mahalanobis(m, x):
    d = torch.einsum("nkd,kde->nke", x[:, None] - m.mean, m.root)
    return -d.square().sum(-1) + torch.linalg.slogdet(m.root @ m.root.mT + torch.eye(3).to(x))[1]


def gaussian_mixture(m, x):
    z = (x[:, None] - m.mean) * m.scale.exp()
    return torch.logsumexp(m.share.log_softmax(0) + m.scale.sum(-1) - 0.5 * z.square().sum(-1), 1)


def soft_clusters(m, x):
    s = (-(x[:, None] - m.centres).square().sum(-1)).softmax(-1)
    return s @ m.values


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


def input_convex(m, x):
    z = F.softplus(m.a(x))
    z = F.softplus(F.linear(z, F.softplus(m.w)) + m.b(x))
    return F.linear(z, F.softplus(m.v))


def coupling_flow(m, x):
    """Two affine couplings; the transformed point and the logarithm of the volume."""
    a, b, volume = x[:, :2], x[:, 2:], 0.0
    for layer in (m.one, m.two):
        s, t = layer(a).chunk(2, 1)
        b, volume = b * torch.tanh(s).exp() + t, volume + torch.tanh(s).sum(1, keepdim=True)
        a, b = b, a
    return torch.cat([a, b, volume], 1)


def planar_flow(m, x):
    h = torch.tanh(x @ m.w + m.b)
    volume = torch.log((1 + (1 - h**2) * (m.u @ m.w)).abs() + 1e-3)
    return torch.cat([x + h[:, None] * m.u, volume[:, None]], 1)


def decision_tree(m, x):
    """A soft tree of depth two."""
    right = torch.sigmoid(m.split(x))
    left = 1 - right
    leaves = torch.stack(
        [left[:, 0] * left[:, 1], left[:, 0] * right[:, 1], right[:, 0] * left[:, 2], right[:, 0] * right[:, 2]], 1
    )
    return leaves @ m.values


def additive(m, x):
    return m.bias + sum(f(x[:, k : k + 1]) for k, f in enumerate(m.parts))


def label_chain(m, x):
    """The partition function of a chain of labels, by the forward algorithm."""
    scores = m.emit(x)
    a = scores[:, 0] + m.start
    for t in range(1, x.shape[1]):
        a = torch.logsumexp(a[..., None] + m.move, 1) + scores[:, t]
    return torch.logsumexp(a, 1)


def hidden_markov(m, x):
    move, emit = m.move.log_softmax(1), m.emit.log_softmax(1)
    a = m.start.log_softmax(0) + emit[:, x[:, 0]].T
    for t in range(1, x.shape[1]):
        a = torch.logsumexp(a[..., None] + move, 1) + emit[:, x[:, t]].T
    return torch.logsumexp(a, 1)


def hopfield(m, x):
    for _ in range(2):
        x = (2.0 * x @ m.patterns.T).softmax(-1) @ m.patterns
    return x


def circuit(m, x):
    """Two turned spins that are entangled: complex numbers inside, real ones outside."""
    angle = m.a(x)
    one = torch.stack([angle[:, 0].cos() + 0j, 1j * angle[:, 0].sin()], 1)
    two = torch.stack([angle[:, 1].cos() + 0j, torch.exp(1j * m.phase) * angle[:, 1].sin()], 1)
    state = torch.einsum("ni,nj->nij", one, two)
    state = torch.einsum("nij,ki->nkj", state, torch.complex(m.real, m.imaginary))
    return state.abs().square().flatten(1)


def least_squares_head(m, x):
    """A readout that solves a small system, the same for all examples."""
    readout = torch.linalg.solve(m.s @ m.s.T + torch.eye(5).to(x), m.t)
    return torch.tanh(m.a(x)) @ readout


def optimal_step(m, x):
    """Solves a system of each example."""
    h = m.a(x).view(-1, 3, 3)
    return torch.linalg.solve(h @ h.mT + torch.eye(3).to(x), m.b(x))


def memory(m, x):
    key = m.key(x)
    weights = F.cosine_similarity(key[:, None], m.slots[None], dim=-1).softmax(-1)
    erased = m.slots[None] * (1 - weights[..., None] * torch.sigmoid(m.erase(x))[:, None])
    return m.out((weights[..., None] * erased).sum(1))


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
    Case("radial basis functions", net(radial, centres=(5, 3), log_width=(5,), out=linear(5, 2)), floats(3)),
    Case("radial basis functions by cdist", net(radial_by_cdist, centres=(5, 3), out=linear(5, 2)), floats(3)),
    Case("distances to centroids", net(prototypes, a=linear(3, 4), centroids=(3, 4)), floats(3)),
    Case("Mahalanobis distances", net(mahalanobis, mean=(2, 3), root=(2, 3, 3)), floats(3)),
    Case("mixture of Gaussians", net(gaussian_mixture, mean=(3, 2), scale=(3, 2), share=(3,)), floats(2)),
    Case("soft clusters", net(soft_clusters, centres=(4, 3), values=(4, 2)), floats(3)),
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
    Case("input-convex network", net(input_convex, a=linear(3, 5), w=(5, 5), b=linear(3, 5), v=(1, 5)), floats(3)),
    Case("coupling flow", net(coupling_flow, one=linear(2, 4), two=linear(2, 4)), floats(4)),
    Case("planar flow", net(planar_flow, w=(3,), u=(3,), b=()), floats(3)),
    Case("soft decision tree", net(decision_tree, split=linear(3, 3), values=(4, 2)), floats(3)),
    Case(
        "additive model",
        net(
            additive,
            bias=(),
            parts=lambda: nn.ModuleList(
                [nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 2)) for _ in range(3)]
            ),
        ),
        floats(3),
    ),
    Case("chain of labels", net(label_chain, emit=linear(3, 4), start=(4,), move=(4, 4)), floats(4, 3)),
    Case(
        "hidden Markov model",
        net(hidden_markov, start=(3,), move=(3, 3), emit=(3, 5)),
        lambda n, g: torch.randint(5, (n, 4), generator=g),
    ),
    Case("Hopfield network", net(hopfield, patterns=(4, 3)), floats(3)),
    Case("quantum circuit", net(circuit, a=linear(2, 2), phase=(), real=(2, 2), imaginary=(2, 2)), floats(2)),
    Case("readout that solves a system", net(least_squares_head, a=linear(3, 5), s=(5, 5), t=(5, 2)), floats(3)),
    Case("system of an example", net(optimal_step, a=linear(3, 9), b=linear(3, 3)), floats(3)),
    Case(
        "memory of learned slots",
        net(memory, key=linear(3, 4), slots=(5, 4), erase=linear(3, 4), out=linear(4, 2)),
        floats(3),
    ),
]
