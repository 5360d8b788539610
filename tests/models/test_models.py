import math

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.models import NONLINEARITIES, make_nonlinearity, nonlinearities
from tests.tolerances import SINGLE


def test_ntk_linear_is_its_formula(generator):
    layer = ng.NTKLinear(5, 3, weight_std=1.7, bias_std=0.3, generator=generator)
    x = torch.randn(4, 2, 5, generator=generator)
    expected = 1.7 / math.sqrt(5) * x @ layer.weight.T + 0.3 * layer.bias
    torch.testing.assert_close(layer(x), expected)
    assert ng.NTKLinear(5, 3).bias is None


def test_ntk_linear_starts_standard_normal():
    weights = ng.NTKLinear(300, 300, bias_std=1.0, generator=torch.Generator().manual_seed(1)).weight
    assert abs(weights.mean()) < 4 / 300
    assert abs(weights.var() - 1) < 4 * math.sqrt(2) / 300


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_both_parametrizations_draw_the_same_functions(parametrization):
    """The variance of the outputs over initializations is that of the recursion σ_w² E[φ²] + σ_b²."""
    x = torch.randn(1, 6, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    settings = {"weight_std": 1.3, "bias_std": 0.4, "parametrization": parametrization}
    outputs = [ng.MLP(6, 50, 200, 2, generator=generator, **settings)(x) for _ in range(40)]
    variance = 1.3**2 * x.square().mean() + 0.4**2
    for _ in range(2):
        variance = 1.3**2 * variance / 2 + 0.4**2
    assert torch.cat(outputs).square().mean().item() == pytest.approx(variance.item(), rel=0.1)


def test_depth_counts_hidden_layers():
    model = ng.MLP(8, 3, width=16, depth=4, nonlinearity="gelu")
    assert [type(m) for m in model].count(nn.GELU) == 4
    assert sum(isinstance(m, ng.NTKLinear) for m in model) == 5
    assert model(torch.zeros(2, 2, 4)).shape == (2, 3)


def test_biases_follow_bias_std_or_are_asked_for():
    assert all(m.bias is None for m in ng.MLP(2, 1, 4, 1).modules() if isinstance(m, ng.NTKLinear))
    trainable = ng.MLP(2, 1, 4, 1, parametrization="standard", bias=True)
    biases = [m.bias for m in trainable if isinstance(m, nn.Linear)]
    assert len(biases) == 2
    assert all(torch.equal(b, torch.zeros_like(b)) for b in biases)


def test_the_same_generator_gives_the_same_network():
    a, b = (ng.MLP(3, 2, 5, 2, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_shallow_net_is_its_formula(generator):
    net = ng.models.ShallowNet(4, 10, generator=generator)
    x = torch.randn(6, 4, generator=generator)
    expected = torch.relu(x @ net.hidden.weight.T) @ net.signs.T / math.sqrt(10)
    torch.testing.assert_close(net(x), expected)
    assert set(net.signs.unique().tolist()) <= {-1.0, 1.0}
    assert [name for name, _ in net.named_parameters()] == ["hidden.weight"]


@pytest.mark.parametrize("name", sorted(NONLINEARITIES))
def test_every_nonlinearity_is_elementwise(name):
    x = torch.linspace(-3, 3, 12).reshape(3, 4)
    phi = make_nonlinearity(name)
    one_by_one = torch.stack([phi(v) for v in x.flatten()]).reshape(3, 4)
    torch.testing.assert_close(phi(x), one_by_one, rtol=SINGLE, atol=SINGLE)


def test_the_modules_are_their_formulas(generator):
    x = torch.randn(50, generator=generator, dtype=torch.float64)
    pairs = {
        nonlinearities.Sin(2.0, 3.0, 0.5): 2 * (3 * x + 0.5).sin(),
        nonlinearities.RBF(2.0): math.sqrt(2) * (2 * x + math.pi / 4).sin(),
        nonlinearities.ExpSquare(): (-x * x).exp(),
        nonlinearities.Polynomial([1.0, 0.0, -2.0]): 1 - 2 * x**2,
        nonlinearities.Monomial(3): x**3,
    }
    for module, expected in pairs.items():
        torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ng.MLP(3, 1, width=0, depth=1), "width must be an integer of at least 1, got 0"),
        (lambda: ng.MLP(3, 1, width=2.5, depth=1), "width must be"),
        (lambda: ng.MLP(3, 1, 4, depth=0), "depth must be"),
        (lambda: ng.MLP(3, 1, 4, 1, nonlinearity="loud"), "unknown nonlinearity 'loud'"),
        (lambda: ng.MLP(3, 1, 4, 1, parametrization="loud"), "unknown parametrization"),
        (lambda: ng.MLP(3, 1, 4, 1, weight_std=-1), "weight_std must be"),
        (lambda: ng.MLP(3, 1, 4, 1, bias=True), "bias exactly where bias_std > 0|has a bias"),
        (lambda: nonlinearities.RBF(-1.0), "RBF: gamma must not be negative"),
        (lambda: nonlinearities.Sin(phase=float("nan")), "Sin: phase must be a finite number"),
        (lambda: nonlinearities.Monomial(1.5), "Monomial: degree must be a non-negative integer"),
        (lambda: nonlinearities.Polynomial([]), "at least one coefficient"),
        (lambda: ng.NTKLinear(0, 1), "in_features must be"),
        (lambda: ng.NTKLinear(1, 1, bias_std=float("nan")), "bias_std must be"),
        (lambda: ng.models.ShallowNet(3, True), "width must be"),
        (lambda: ng.MLP(3, 1, 4, 1)(torch.zeros(2, 5)), r"in_features=3 .* shape \(2, 5\)"),
    ],
)
def test_bad_networks_are_named(build, words):
    with pytest.raises(ModelError, match=words):
        build()
