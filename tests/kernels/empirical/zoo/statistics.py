"""Densities, distances, trees and systems of equations."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, floats, linear, net


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
    s = (-(x[:, None] - m.centers).square().sum(-1)).softmax(-1)
    return s @ m.values


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


CASES = [
    Case("distances to centroids", net(prototypes, a=linear(3, 4), centroids=(3, 4)), floats(3)),
    Case("Mahalanobis distances", net(mahalanobis, mean=(2, 3), root=(2, 3, 3)), floats(3)),
    Case("mixture of Gaussians", net(gaussian_mixture, mean=(3, 2), scale=(3, 2), share=(3,)), floats(2)),
    Case("soft clusters", net(soft_clusters, centers=(4, 3), values=(4, 2)), floats(3)),
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
