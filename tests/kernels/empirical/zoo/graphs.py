"""Graphs: a buffer, of an example, or shared by all examples."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import (
    Case,
    Constant,
    Net,
    floats,
    linear,
    net,
    several,
    shared,
    tokens,
)

ADJACENCY = torch.tensor(
    [[0, 1, 0, 0, 1], [1, 0, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 1, 0, 1], [1, 0, 1, 1, 0]]
).float()

NORMALIZED = ADJACENCY / ADJACENCY.sum(1, keepdim=True)

EDGES = ADJACENCY.nonzero().T.contiguous()  # [2, 12]


def gcn(m, x):
    h = torch.relu(m.adjacency @ m.a(x))
    return m.out((m.adjacency @ m.b(h)).mean(1))


def gcn_nodes(m, x):
    """Outputs for every node of an example's graph."""
    return m.out(torch.relu(m.adjacency @ m.a(x)))


def gcn_sparse(m, x):
    n, nodes, _ = x.shape
    h = torch.relu(m.a(x)).transpose(0, 1).reshape(nodes, -1)
    return m.out(torch.sparse.mm(m.adjacency, h).view(nodes, n, -1).mean(0))


def gcn_of_example(m, x, adjacency):
    h = torch.relu(torch.bmm(adjacency, m.a(x)))
    return m.out(torch.bmm(adjacency, m.b(h)).sum(1))


def gcn_shared(m, x, adjacency):
    return m.out(torch.relu(adjacency @ m.a(x)).mean(1))


def learned_adjacency(m, x):
    """A graph that is learned, the same for all examples."""
    return m.out(torch.relu((m.u @ m.v.T).softmax(-1) @ m.a(x)).mean(1))


def chebyshev(m, x):
    one, two = x, m.adjacency @ x
    h = m.layers[0](one) + m.layers[1](two)
    h = h + m.layers[2](2 * m.adjacency @ two - one)
    return m.out(torch.relu(h).mean(1))


def messages(m, x, edges):
    """Messages along the edges, added up at their ends."""
    source, target = edges
    h = m.a(x)
    sent = torch.relu(m.message(torch.cat([h[:, source], h[:, target]], -1)))
    received = torch.zeros_like(sent[:, : x.shape[1]]).index_add(1, target, sent)
    return m.out(torch.tanh(h + received).mean(1))


def messages_by_scatter(m, x, edges):
    sent = m.a(x)[:, edges[0]]
    index = edges[1][None, :, None].expand_as(sent)
    received = torch.zeros(*x.shape[:2], 4, dtype=x.dtype).scatter_add_(1, index, sent)
    return m.out(torch.relu(received)).mean(1)


def isomorphism(m, x, edges):
    """GIN: 1 + ε times the own features."""
    received = torch.zeros_like(x).index_add(1, edges[1], x[:, edges[0]])
    return m.out(torch.relu(m.a((1 + m.eps) * x + received)).sum(1))


def graph_attention(m, x, adjacency):
    h = m.a(x)
    scores = F.leaky_relu(m.left(h) + m.right(h).mT, 0.2)
    scores = scores.masked_fill(adjacency == 0, -torch.inf)
    return m.out(F.elu(scores.softmax(-1) @ h).mean(1))


def graph_attention_vectors(m, x):
    h = torch.einsum("nid,hdk->nhik", x, m.w)
    scores = F.leaky_relu((h @ m.source[..., None]) + (h @ m.target[..., None]).mT, 0.2)
    scores = scores.masked_fill(m.adjacency == 0, -1e9)
    return m.out(F.elu(scores.softmax(-1) @ h).transpose(1, 2).flatten(2)).mean(1)


def edge_features(m, x, edges):
    """Dense features of all pairs of an example's nodes."""
    sent = m.message(x)[:, None] * torch.sigmoid(m.gate(edges))
    return m.out(torch.relu(x + sent.sum(2)).mean(1))


def virtual_node(m, x):
    everyone = m.virtual.expand(len(x), 1, 4) + m.a(x).mean(1, keepdim=True)
    return m.out(torch.relu(m.b(x) + everyone).mean(1))


def jumping_knowledge(m, x):
    layers = [x]
    for _ in range(2):
        layers.append(torch.tanh(m.adjacency @ m.a(layers[-1])))
    return m.out(torch.cat(layers, -1).mean(1))


def equivariant_graph(m, positions, features):
    """Distances make messages, messages move the points (EGNN)."""
    difference = positions[:, :, None] - positions[:, None]
    distance = difference.square().sum(-1, keepdim=True)
    k = features.shape[1]
    pair = torch.cat(
        [features[:, :, None].expand(-1, -1, k, -1), features[:, None].expand(-1, k, -1, -1), distance], -1
    )
    sent = F.silu(m.message(pair))
    return positions + (difference * m.move(sent)).mean(2)


def molecule(m, kinds, positions):
    """Atoms by kind, filters of their distances (SchNet)."""
    distance = torch.cdist(positions, positions)
    filters = m.filter(torch.exp(-((distance[..., None] - m.centers) ** 2)))
    h = m.kind(kinds)
    return m.out(torch.tanh(h + (filters * h[:, None]).sum(2))).sum(1)


def node_types(m, x, kinds):
    """Node types shared by all examples."""
    return m.out(torch.tanh(m.a(x) + m.kind(kinds)).mean(1))


def on_graph(function, matrix=NORMALIZED, **parts):
    return lambda: Net(
        function, adjacency=Constant(matrix.clone()), **{k: p() if callable(p) else p for k, p in parts.items()}
    )


X = floats(5, 3)

AB = {"a": linear(3, 4), "b": linear(4, 4), "out": linear(4, 2)}

ONE = {"a": linear(3, 4), "out": linear(4, 2)}


CASES = [
    Case("graph convolution", on_graph(gcn, **AB), X),
    Case("graph convolution, outputs at nodes", on_graph(gcn_nodes, **ONE), X),
    Case("graph convolution, sparse buffer", on_graph(gcn_sparse, NORMALIZED.to_sparse(), **ONE), X),
    Case("graph convolution, CSR buffer", on_graph(gcn_sparse, NORMALIZED.to_sparse_csr(), **ONE), X),
    Case("graph convolution, graph shared by all", net(gcn_shared, **ONE), several(X, shared(NORMALIZED))),
    Case(
        "graph convolution, graph of the example",
        net(gcn_of_example, **AB),
        several(X, lambda n, g: torch.rand(n, 5, 5, generator=g)),
    ),
    Case("graph convolution, learned graph", net(learned_adjacency, u=(5, 2), v=(5, 2), **ONE), X),
    Case(
        "Chebyshev polynomials",
        on_graph(chebyshev, layers=lambda: nn.ModuleList([nn.Linear(3, 4) for _ in range(3)]), out=linear(4, 2)),
        X,
    ),
    Case("messages along shared edges", net(messages, message=linear(8, 4), **ONE), several(X, shared(EDGES))),
    Case(
        "messages along shared edges, by name",
        net(messages, message=linear(8, 4), **ONE),
        several(x=X, edges=shared(EDGES)),
    ),
    Case("messages by scatter_add_", net(messages_by_scatter, **ONE), several(X, shared(EDGES))),
    Case("graph isomorphism network", net(isomorphism, eps=(), **ONE), several(X, shared(EDGES))),
    Case(
        "graph attention",
        net(graph_attention, left=linear(4, 1, False), right=linear(4, 1, False), **ONE),
        several(X, shared(ADJACENCY + torch.eye(5))),
    ),
    Case(
        "graph attention, vectors",
        on_graph(
            graph_attention_vectors,
            ADJACENCY + torch.eye(5),
            w=(2, 3, 2),
            source=(2, 2),
            target=(2, 2),
            out=linear(4, 2),
        ),
        X,
    ),
    Case(
        "features of edges",
        net(edge_features, message=linear(3, 3), gate=linear(2, 3), out=linear(3, 2)),
        several(X, floats(5, 5, 2)),
    ),
    Case(
        "virtual node", net(virtual_node, virtual=(1, 1, 4), a=linear(3, 4), b=linear(3, 4), out=linear(4, 2)), X
    ),
    Case("jumping knowledge", on_graph(jumping_knowledge, a=linear(3, 3), out=linear(9, 2)), X),
    Case(
        "points moved by messages",
        net(equivariant_graph, message=linear(5, 4), move=linear(4, 1, False)),
        several(floats(5, 3), floats(5, 2)),
    ),
    Case(
        "molecule",
        net(
            molecule,
            kind=lambda: nn.Embedding(4, 3),
            filter=linear(6, 3),
            centers=lambda: Constant(torch.linspace(0, 3, 6)),
            out=linear(3, 1),
        ),
        several(tokens(4, 5), X),
    ),
    Case(
        "kinds of nodes, shared by all",
        net(node_types, kind=lambda: nn.Embedding(3, 4), **ONE),
        several(X, shared(torch.tensor([0, 1, 2, 1, 0]))),
    ),
]
