"""Positions mixed by a constant matrix, as on a graph: in every spelling, against dense matrices and networks."""

import pytest
import torch
from torch import Tensor, nn

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.models import NTKLinear
from tests.kernels.infinite.finite_networks import assert_converges
from tests.kernels.infinite.reference import Points
from tests.tolerances import EXACT

NODES, FEATURES = 5, 3
GENERATOR = torch.Generator().manual_seed(0)
ADJACENCY = torch.rand(NODES, NODES, dtype=torch.float64, generator=GENERATOR)
X = torch.randn(4, NODES, FEATURES, dtype=torch.float64, generator=GENERATOR)


class Graph(nn.Module):
    """Two rounds of mixing and a mean over nodes."""

    def __init__(self, mix, width: int = 8) -> None:
        super().__init__()
        self.first, self.second = NTKLinear(FEATURES, width, 1.4, 0.3), NTKLinear(width, width, 1.4, 0.3)
        self.out = NTKLinear(width, 4)
        self.register_buffer("a", ADJACENCY.clone())
        self.plain = ADJACENCY.clone()  # an attribute that is not registered
        self.frozen = nn.Parameter(ADJACENCY.clone(), requires_grad=False)
        self.trained = nn.Parameter(ADJACENCY.clone())
        self.sparse = ADJACENCY.to_sparse()
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.mix(self, self.first(x)))
        return self.out(torch.relu(self.second(self.mix(self, h))).mean(1))


def _sparse(m, h):
    n, nodes, _ = h.shape
    columns = h.transpose(0, 1).reshape(nodes, -1)
    return torch.sparse.mm(m.sparse, columns).reshape(nodes, n, -1).transpose(0, 1)


SPELLINGS = {
    "@": lambda m, h: m.a @ h,
    "torch.matmul": lambda m, h: torch.matmul(m.plain, h),
    "method": lambda m, h: m.a.matmul(other=h),
    "frozen parameter": lambda m, h: m.frozen @ h,
    "one more axis": lambda m, h: m.a[None] @ h,
    "from the right": lambda m, h: (h.transpose(1, 2) @ m.a.T).transpose(1, 2),
    "einsum": lambda m, h: torch.einsum("ij,njd->nid", m.a, h),
    "einsum, turned": lambda m, h: torch.einsum("njd, ij -> ndi", h, m.a).transpose(1, 2),
    "einsum of a list": lambda m, h: torch.einsum("ij,...jd->...id", [m.a, h]),
    "sparse": _sparse,
}


def reference() -> Points:
    first = Points.of(X).layer(1.4**2, 0.3**2).mapped(ADJACENCY).relu()
    return first.mapped(ADJACENCY).layer(1.4**2, 0.3**2).relu().mean().layer(1.0)


@pytest.mark.parametrize("name", SPELLINGS)
def test_kernels_are_those_of_dense_matrices_over_all_nodes(name):
    found, expected = ng.infinite_width(Graph(SPELLINGS[name]).double()).kernels(X), reference()
    torch.testing.assert_close(found.nngp, expected.nngp, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(found.ntk, expected.ntk, rtol=EXACT, atol=EXACT)


def test_finite_networks_converge_to_the_limit():
    assert_converges(lambda width: Graph(SPELLINGS["@"], width), X, 32)


def test_a_readout_is_a_matrix_with_one_row():
    weights = torch.arange(1.0, NODES + 1).double()
    by_vector = Graph(lambda m, h: h)
    by_vector.forward = lambda x: by_vector.out(torch.relu(by_vector.first(x)).transpose(1, 2) @ weights)
    found = ng.infinite_width(by_vector.double()).ntk(X)
    expected = Points.of(X).layer(1.4**2, 0.3**2).relu().mapped(weights[None]).layer(1.0)
    torch.testing.assert_close(found, expected.ntk, rtol=EXACT, atol=EXACT)


def test_images_are_mixed_along_either_axis():
    """A acts on the axis before the last, B on the last one; a mean over both follows."""
    a, b = (torch.rand(3, 4, dtype=torch.float64, generator=GENERATOR) for _ in range(2))
    images = torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=GENERATOR)

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift, self.out = nn.Conv2d(2, 300, 1, bias=False), NTKLinear(300, 1)

        def forward(self, x):
            h = self.lift(x)
            mixed = torch.einsum("rh,nchw,sw->nrsc", a, h, b) if self.training else (a @ h @ b.T).movedim(1, -1)
            return self.out(mixed.mean((1, 2)))

    model = Mixed().double()
    points = Points.of(images.movedim(1, -1).flatten(1, 2)).layer(1 / 3, weights=2.0)
    expected = points.mapped(torch.kron(a, b)).mean().layer(1.0)
    for training in (True, False):
        found = ng.infinite_width(model.train(training)).kernels(images)
        torch.testing.assert_close(found.nngp, expected.nngp, rtol=EXACT, atol=EXACT)
        torch.testing.assert_close(found.ntk, expected.ntk, rtol=EXACT, atol=EXACT)


def test_a_matrix_applied_to_the_input_is_a_function_of_it():
    model = Graph(SPELLINGS["@"]).double()
    plain = ng.infinite_width(model).ntk(ADJACENCY @ X)

    class OnInput(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(self.model.frozen @ x)

    torch.testing.assert_close(ng.infinite_width(OnInput()).ntk(X), plain, rtol=EXACT, atol=EXACT)


SUMS = {
    "a node and its neighbors": (lambda m, h: 1.5 * h + m.a @ h, lambda i, a: 1.5 * i + a),
    "powers": (lambda m, h: (lambda ah: h - 2 * ah + m.a @ ah)(m.a @ h), lambda i, a: i - 2 * a + a @ a),
    "both sides mapped": (lambda m, h: m.a @ h + m.a.T @ (h / 2), lambda i, a: a + a.T / 2),
    "through identity": (lambda m, h: nn.Identity()(h) + m.a @ h, lambda i, a: i + a),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_maps_of_one_signal_are_one_map(name):
    mix, matrix = SUMS[name]
    whole = matrix(torch.eye(NODES, dtype=torch.float64), ADJACENCY)
    expected = Points.of(X).layer(1.4**2, 0.3**2).mapped(whole).relu()
    expected = expected.mapped(whole).layer(1.4**2, 0.3**2).relu().mean().layer(1.0)
    found = ng.infinite_width(Graph(mix).double()).kernels(X)
    torch.testing.assert_close(found.nngp, expected.nngp, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(found.ntk, expected.ntk, rtol=EXACT, atol=EXACT)


def test_sums_of_maps_of_two_axes_or_behind_a_nonlinearity_are_refused():
    for mix in (lambda m, h: h + torch.relu(m.a @ h), lambda m, h: m.a @ h + (h.mT @ torch.eye(5).double()).mT):
        with pytest.raises(ModelError, match=r"adds two branches that both depend on"):
            ng.infinite_width(Graph(mix).double()).ntk(X)


def test_products_with_own_weights_are_dense_layers():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.w, self.v, self.v_turned = (
                nn.Parameter(torch.randn(*size) / 20) for size in ((FEATURES, 400), (400, 300), (300, 400))
            )

        def forward(self, x):
            h = torch.relu(x @ self.w).mean(1)
            return h @ self.v if self.training else torch.matmul(h, self.v_turned.T)

    start = ng.models.Initialization(1.0, 0.05)
    given = {"w": start, "v": start, "v_turned": start}
    hidden = Points.of(X).layer(FEATURES / 400, weights=FEATURES).relu().mean()
    expected = hidden.layer(1.0, weights=400)
    for training in (True, False):
        found = ng.infinite_width(Own().double().train(training), initializations=given).kernels(X)
        torch.testing.assert_close(found.nngp, expected.nngp, rtol=EXACT, atol=EXACT)
        torch.testing.assert_close(found.ntk, expected.ntk, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        (lambda m, h: m.trained @ h, r"mixes positions by a trained matrix"),
        (lambda m, h: h @ torch.eye(8, dtype=torch.float64), r"multiplies the channels by a constant matrix"),
        (lambda m, h: h @ h.transpose(1, 2) @ h, r"multiplies two random signals as matrices"),
        (lambda m, h: ADJACENCY[:3, :3] @ h.mean(1), r"mixes the examples of a batch"),
        (lambda m, h: torch.stack([m.a] * 3) @ h, r"by a tensor of shape \(3, 5, 5\)"),
        (lambda m, h: m.a[None, None] @ h, r"adds axes to the signal"),
        (lambda m, h: torch.einsum("ij,njd", m.a, h), r"write out what the result is"),
        (lambda m, h: torch.einsum("ij,njd->nd", m.a, h), r"replace one index of the signal by another"),
        (lambda m, h: torch.einsum("njd,nkd->njk", h, h), r"multiplies several random signals"),
        (lambda m, h: torch.einsum("ij,njd->ni", m.a, h), r"sums or repeats indices"),
        (lambda m, h: h.transpose(0, 1).flatten(1), r"takes the first axis for the examples, which are on axis 1"),
        (lambda m, h: torch.relu(h.transpose(0, 1).reshape(NODES, -1)), r"folded into the channels"),
    ],
)
def test_other_products_are_refused(mix, words):
    class Short(Graph):
        def forward(self, x):
            return mix(self, self.first(x))

    with pytest.raises(ModelError, match=words):
        ng.infinite_width(Short(None).double()).ntk(X)


def test_a_graph_of_every_examples_own_is_refused():
    """The adjacency comes with the features: its matrix is another one for every example."""

    class Own(Graph):
        def forward(self, x):
            return self.out((x[..., FEATURES:] @ torch.relu(self.first(x[..., :FEATURES]))).mean(1))

    x = torch.cat([X, ADJACENCY.expand(4, -1, -1)], -1)
    with pytest.raises(ModelError, match=r"by a matrix that depends on the input"):
        ng.infinite_width(Own(None).double()).ntk(x)

    class TwoInputs(Graph):
        def forward(self, x, a):
            return self.out((a @ self.first(x)).mean(1))

    with pytest.raises(ModelError, match=r"takes several inputs"):
        ng.infinite_width(TwoInputs(None).double()).ntk(X)


def test_examples_must_come_first_at_the_end():
    model = Graph(None).double()
    model.forward = lambda x: model.out(model.first(x).mean(1)).transpose(0, 1)
    with pytest.raises(ModelError, match=r"has its examples on axis 1"):
        ng.infinite_width(model).ntk(X)
