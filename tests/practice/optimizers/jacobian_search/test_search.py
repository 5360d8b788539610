import copy
import math

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import KernelError, StudyError
from ntkgap.practice import natural_gradient_descent, search_jacobian_change
from tests.reference.jacobian_change import (
    best_of_random_directions,
    dense_change,
)
from tests.tolerances import EXACT, ITERATED


class Function(nn.Module):
    """A function of the input and two parameters that start at zero."""

    def __init__(self, function, start=(0.0, 0.0)):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.function = function

    def forward(self, x):
        return self.function(x, *self.theta)


def search(model, x, radius, **options):
    options = {"generator": torch.Generator().manual_seed(0)} | options
    return search_jacobian_change(model, x, radius, **options)


def test_a_quadratic_function_of_two_parameters():
    """f = (3a²/2 + b²/2) x: ΔJ = x (3Δa, Δb), largest along a."""
    model = Function(lambda x, a, b: (1.5 * a**2 + 0.5 * b**2) * x, (0.3, -0.7))
    found = search(model, torch.tensor([[2.0]], dtype=torch.float64), 0.4, starts=1)
    assert 0.99 * 2 * 3 * 0.4 <= found.largest <= 2 * 3 * 0.4 * (1 + EXACT)


@pytest.mark.parametrize("radius", [0.2, 1.0, 5.0])
def test_a_maximum_on_the_sphere_or_inside_of_the_ball(radius):
    """f = sin(a + 2b): ΔJ = (cos(s) − 1)(1, 2) with |s| ≤ √5 R; the largest, 2√5, is reached where s = π."""
    model = Function(lambda x, a, b: torch.sin(a + 2 * b) * x)
    found = search(model, torch.ones(1, 1, dtype=torch.float64), radius, starts=2, steps=15)
    supremum = (1 - math.cos(min(math.pi, 5**0.5 * radius))) * 5**0.5
    assert 0.99 * supremum <= found.largest <= supremum * (1 + EXACT)


@pytest.mark.parametrize("radius", [0.3, 1.5, 6.0])
def test_a_landscape_with_several_peaks_against_a_fine_grid(radius):
    model = Function(lambda x, a, b: torch.tanh(a * x[:, :1] + b * x[:, 1:]), (0.5, -0.3))
    x = torch.tensor([[1.0, 0.2], [-0.4, 0.9], [0.7, 0.8]], dtype=torch.float64)

    def gram(theta):  # of J(θ) − J(θ₀), [..., 2, 2]
        slopes = 1 - torch.tanh(theta @ x.T).square()
        change = (slopes - (1 - torch.tanh(model.theta.detach() @ x.T).square()))[..., None] * x
        return change.mT @ change

    axis = torch.linspace(-radius, radius, 601, dtype=torch.float64)
    disc = torch.cartesian_prod(axis, axis)
    disc = disc[disc.norm(dim=1) <= radius]
    supremum = float(torch.linalg.eigvalsh(gram(model.theta.detach() + disc))[:, -1].max()) ** 0.5
    found = search(model, x, radius, starts=3, steps=15)
    assert 0.99 * supremum <= found.largest
    assert found.largest <= 1.01 * supremum  # the grid's resolution


def test_one_relu_unit_changes_at_the_distance_of_its_kink(generator):
    net = ng.models.ShallowNet(3, 1, generator=generator).double()
    x = torch.randn(1, 3, dtype=torch.float64, generator=generator)
    kink = abs(float(net.hidden(x).detach())) / float(x.norm())
    assert search(net, x, 0.999 * kink, starts=1, steps=5).largest == 0
    assert search(net, x, 1.001 * kink, starts=1, steps=5).largest == pytest.approx(float(x.norm()))


LITTLE = {"starts": 1, "steps": 6}  # enough where nearly every start leads to a high peak
CASES = {
    "erf": lambda g: ng.MLP(3, 2, 5, 2, "erf", bias_std=0.1, generator=g),
    "tanh": lambda g: ng.MLP(3, 1, 6, 1, "tanh", generator=g),
    "relu": lambda g: ng.MLP(3, 1, 6, 2, "relu", weight_std=2**0.5, generator=g),
    "shallow relu": lambda g: ng.models.ShallowNet(3, 20, "relu", generator=g),
    "shallow erf": lambda g: ng.models.ShallowNet(3, 20, "erf", generator=g),
}


@pytest.mark.parametrize(
    ("name", "radius", "effort"),
    [
        ("erf", 0.5, LITTLE),
        ("erf", 5.0, LITTLE),
        ("relu", 0.5, LITTLE),
        ("shallow relu", 0.5, LITTLE),
        ("shallow relu", 5.0, LITTLE),
        ("shallow erf", 5.0, {"starts": 2, "steps": 15}),
    ],
)
def test_better_than_ten_thousand_random_directions_for_fewer_jacobians(name, radius, effort, generator):
    net = CASES[name](generator).double()
    x = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    found = search(net, x, radius, **effort)
    assert found.evaluations + found.gradients <= 1000  # a tenth of what the other spends
    assert found.largest > best_of_random_directions(net, x, radius, 10_000, generator)


@pytest.mark.parametrize("name", CASES)
def test_the_value_is_that_of_the_network_at_the_parameters_given(name, generator):
    net = CASES[name](generator).double()
    before = copy.deepcopy(net.state_dict())
    x = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    found = search(net, x, 2.0, starts=1, steps=2)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert found.largest == pytest.approx(dense_change(net, found.parameters, x), rel=ITERATED)
    moved = torch.cat([(found.parameters[k] - p).detach().flatten() for k, p in net.named_parameters()])
    assert found.distance == pytest.approx(float(moved.norm()), rel=ITERATED)
    assert found.distance <= 2.0 * (1 + EXACT)
    assert found.largest == max(found.starts.values()) == found.starts[found.method]


@pytest.mark.parametrize("nonlinearity", ["erf", "relu"])
def test_never_less_than_the_path_of_training(nonlinearity, generator):
    data = ng.load_data("sphere", 8, 1, dim=6)[0].to(torch.float64)
    net = ng.models.ShallowNet(6, 64, nonlinearity, generator=generator).double()
    trained, path = copy.deepcopy(net), []
    natural_gradient_descent(
        trained,
        data,
        learning_rate=0.5,
        steps=8,
        observe=lambda *_: path.append(copy.deepcopy(trained.state_dict())),
    )
    start = nn.utils.parameters_to_vector(net.parameters())
    radius = max(float((point["hidden.weight"].flatten() - start).detach().norm()) for point in path)
    largest = max(dense_change(net, point, data.x) for point in path)
    assert largest > 0
    alone = search(net, data.x, radius, starts=1, steps=0, include=path)
    assert alone.largest >= largest * (1 - ITERATED)
    vectors = [point["hidden.weight"].flatten() for point in path]
    assert search(net, data.x, radius, starts=1, steps=0, include=vectors).starts == alone.starts
    residual = (net(data.x) - data.y).detach()
    full = search(net, data.x, radius, include=path, residual=residual, starts=2, steps=1)
    assert full.largest >= alone.largest
    assert {"included", "residual", "eigendirection", "random 1"} <= full.starts.keys()
    assert ("flips" in full.starts) == (nonlinearity == "relu")


def test_only_the_selected_parameters_move(generator):
    net = ng.MLP(3, 1, 6, 1, "tanh", generator=generator).double()
    first = next(name for name, _ in net.named_parameters())
    x = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    found = search(net, x, 1.0, starts=1, steps=3, parameters=[first])
    assert list(found.parameters) == [first]
    moved = {name: p + 0.01 for name, p in net.state_dict().items()}
    with pytest.raises(KernelError, match=r"include\[0\] differs from the model in .* parameters="):
        search(net, x, 1.0, include=[moved], parameters=[first])


def test_a_linear_model_has_a_constant_jacobian(generator):
    x = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    assert search(nn.Linear(3, 2).double(), x, 10.0, starts=1).largest == 0


def test_where_the_network_overflows_the_search_goes_on():
    model = Function(lambda x, a, b: torch.exp(a * x) + b * x)
    found = search(model, torch.tensor([[1.0], [2.0]], dtype=torch.float64), 1000.0, starts=1, steps=10)
    assert math.isfinite(found.largest)


def test_the_same_seed_finds_the_same(generator):
    net = ng.MLP(3, 1, 6, 1, "relu", generator=generator).double()
    x = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    assert search(net, x, 1.0, starts=1, steps=2).starts == search(net, x, 1.0, starts=1, steps=2).starts


@pytest.mark.parametrize(
    ("radius", "options", "error", "words"),
    [
        (0.0, {}, StudyError, "radius must be positive"),
        (math.nan, {}, StudyError, "radius must be positive"),
        (1.0, {"starts": 0}, StudyError, "starts must be an integer of at least 1"),
        (1.0, {"steps": 1.5}, StudyError, "steps must be an integer of at least 0"),
        (1.0, {"residual": torch.zeros(3, 1)}, KernelError, r"residual has shape \(3, 1\), the outputs \(4, 1\)"),
        (1.0, {"include": [torch.zeros(5)]}, KernelError, r"include\[0\] has 5 entries, .* 24"),
        (1.0, {"include": [torch.full((24,), 9.0)]}, KernelError, r"include\[0\] is at a distance of .* leave it"),
        (1.0, {"include": [{}]}, KernelError, r"include\[0\]: parameter '.*' needs a value of shape"),
    ],
)
def test_bad_settings_are_named(radius, options, error, words, generator):
    net = ng.MLP(3, 1, 6, 1, "tanh", generator=generator).double()
    x = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    with pytest.raises(error, match=words):
        search(net, x, radius, **options)
