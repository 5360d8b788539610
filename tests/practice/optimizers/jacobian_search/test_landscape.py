import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.models import ShallowNet
from ntkgap.practice.optimizers.jacobian_search.flips import flip_activations
from ntkgap.practice.optimizers.jacobian_search.landscape import LARGEST_GRAM, Landscape, RoundedKinks
from tests.reference.dense import dense_jacobian
from tests.reference.jacobian_change import dense_change, supremum_of_two_example_relu, with_parameters
from tests.tolerances import EXACT, ITERATED


@pytest.fixture
def problem(generator):
    net = ng.MLP(3, 2, 5, 2, "tanh", bias_std=0.2, generator=generator).double()
    x = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    displacement = torch.randn(sum(p.numel() for p in net.parameters()), dtype=torch.float64, generator=generator)
    return net, x, 0.3 * displacement


@pytest.mark.parametrize("largest_gram", [LARGEST_GRAM, 0])
def test_a_peak_is_the_top_singular_value_of_the_dense_difference(problem, largest_gram):
    net, x, displacement = problem
    landscape = Landscape(net, x, None, largest_gram)
    peak = landscape.peak(displacement)
    values = landscape.parameters(displacement)
    # The iterative path stops at a residual of 1e-6, of which the eigenvalue's error is the square.
    assert peak.value == pytest.approx(dense_change(net, values, x), rel=ITERATED)
    change = dense_jacobian(with_parameters(net, values), x) - dense_jacobian(net, x)
    u = peak.vector.flatten()
    assert float((change.T @ u).norm()) == pytest.approx(peak.value, rel=ITERATED)
    torch.testing.assert_close(
        landscape.pullback(peak.vector), dense_jacobian(net, x).T @ u, rtol=EXACT, atol=EXACT
    )
    top = torch.linalg.svd(dense_jacobian(net, x)).U[:, 0]
    assert abs(float(landscape.top_output().flatten() @ top)) == pytest.approx(1, rel=ITERATED)


def test_the_gradient_is_the_derivative_of_half_the_square(problem, generator):
    net, x, displacement = problem
    landscape = Landscape(net, x, None)
    gradient = landscape.gradient(displacement, landscape.peak(displacement).vector, None)
    for _ in range(3):
        direction = torch.randn(landscape.size, dtype=torch.float64, generator=generator)
        direction /= direction.norm()
        slopes = []
        for h in (1e-3, 5e-4):  # Richardson: the error of central differences goes from h² to h⁴
            ends = [0.5 * landscape.peak(displacement + s * h * direction).value ** 2 for s in (1, -1)]
            slopes.append((ends[0] - ends[1]) / (2 * h))
        slope = (4 * slopes[1] - slopes[0]) / 3
        assert float(gradient @ direction) == pytest.approx(slope, abs=1e-6 * float(gradient.norm()))


def test_kinks_are_noticed(generator):
    x = torch.randn(4, 3, generator=generator)
    for name, kinks in {"relu": True, "leaky_relu": True, "abs": True, "tanh": False, "gelu": False}.items():
        assert Landscape(ng.MLP(3, 1, 4, 1, name), x, None).kinks is kinks
    # Without smoothing nothing pulls a shallow ReLU network anywhere; with it there is a slope.
    net = ShallowNet(3, 8, generator=generator)
    landscape = Landscape(net, x, None)
    displacement = torch.randn(24, generator=generator)
    vector = landscape.peak(displacement).vector
    assert not landscape.gradient(displacement, vector, None).any()
    assert landscape.gradient(displacement, vector, 0.3).any()


@pytest.mark.parametrize(
    "function",
    [
        F.relu,
        torch.relu,
        lambda z: z.relu(),
        nn.ReLU(),
        nn.LeakyReLU(0.3),
        lambda z: F.leaky_relu(z),
        torch.abs,
        abs,
    ],
)
def test_rounded_functions_tend_to_those_with_a_kink(function, generator):
    z = torch.randn(50, dtype=torch.float64, generator=generator)
    size = float(z.square().mean().sqrt())
    errors = []
    for width in (0.2, 0.1, 0.05):
        with RoundedKinks(width) as mode:
            rounded = function(z)
        assert mode.seen == 1
        errors.append(float((rounded - function(z)).abs().max()))
        # The soft ramp is above the ramp by at most τ log 2, at the kink; |z| is two of them.
        assert 0 < errors[-1] <= 2 * width * size * torch.tensor(2.0).log() * (1 + EXACT)
    assert errors[2] < errors[1] < errors[0]


@pytest.mark.parametrize("nonlinearity", ["relu", "leaky_relu", "abs"])
def test_flips_cost_what_they_may_and_the_cheapest_come_first(nonlinearity, generator):
    net = ShallowNet(6, 40, nonlinearity, generator=generator).double()
    x = torch.randn(9, 6, dtype=torch.float64, generator=generator)
    x[8] = x[7]  # equal inputs flip together
    active = net.hidden(x).detach() > 0
    distances = net.hidden(x).detach().abs() / x.norm(dim=1, keepdim=True)
    found = [flip_activations(net, Landscape(net, x, None), radius) for radius in (0.3, 1.0, 3.0)]
    for radius, f in zip((0.3, 1.0, 3.0), found, strict=True):
        assert float(f.displacement.norm()) <= radius
    values = [f.peak.value for f in found]
    assert 0 < values[0] < values[1] < values[2]
    cheapest = 1.0001 * float(distances.min())
    moved = (
        net.hidden.weight.detach().flatten()
        + flip_activations(net, Landscape(net, x, None), cheapest).displacement
    )
    changed = (with_parameters(net, moved).hidden(x) > 0) != active
    assert changed.any()
    assert (distances[changed] <= cheapest).all()


def test_flips_against_all_activation_patterns():
    """The budget is a knapsack that is filled greedily: not always the supremum, but near it."""
    shares = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        x = F.normalize(torch.randn(2, 4, dtype=torch.float64, generator=generator), dim=1)
        net = ShallowNet(4, 5, generator=generator).double()
        for radius in (0.3, 1.0, 2.0, 4.0):
            supremum = supremum_of_two_example_relu(net, x, radius)
            found = flip_activations(net, Landscape(net, x, None), radius).peak.value
            assert found <= supremum * (1 + ITERATED)
            shares.append(found / supremum if supremum > 0 else 1.0)
    assert sum(shares) / len(shares) >= 0.99
    assert min(shares) >= 0.9
