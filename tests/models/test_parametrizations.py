import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.models import (
    PARAMETRIZATIONS,
    Antisymmetric,
    LayerFactory,
    Scaled,
    learning_rate_factor,
    parameter_groups,
)
from ntkgap.practice import train
from tests.reference.dense import dense_jacobian, linear_gradient_descent
from tests.tolerances import EXACT, ITERATED

WIDTH = 16


@pytest.fixture
def data(generator):
    return ng.Dataset(*(torch.randn(6, k, dtype=torch.float64, generator=generator) for k in (3, 2)))


def network(**settings):
    generator = torch.Generator().manual_seed(1)
    settings = {"weight_std": 1.4, "bias_std": 0.2, "nonlinearity": "tanh"} | settings
    return ng.MLP(3, 2, WIDTH, 3, generator=generator, **settings).double()


def layers(model):
    return [m for m in model.modules() if isinstance(m, nn.Linear)]


# a, b and c of every layer in powers of the width m (Yang & Hu 2021), and of the biases of all but the readout.
ABC = {
    "standard": {"input": (0, 0, 0), "hidden": (0, 0.5, 0), "output": (0, 0.5, 0), "bias": (0, 0, 0)},
    "ntk": {"input": (0, 0, 0), "hidden": (0.5, 0, 0), "output": (0.5, 0, 0), "bias": (0, 0, 0)},
    "mean_field": {"input": (0, 0, -1), "hidden": (0.5, 0, -1), "output": (1, 0, -1), "bias": (0, 0, -1)},
    "mup": {"input": (-0.5, 0.5, 0), "hidden": (0, 0.5, 0), "output": (0.5, 0.5, 0), "bias": (-0.5, 0.5, 0)},
}


@pytest.mark.parametrize("parametrization", ABC)
@pytest.mark.parametrize("role", ["input", "hidden", "output"])
def test_scales_grow_with_the_stated_powers_of_the_width(parametrization, role):
    def scales(m):
        fan_in, fan_out = {"input": (3, m), "hidden": (m, m), "output": (m, 2)}[role]
        layer = LayerFactory(m, parametrization, 1.4, 0.2).linear(fan_in, fan_out, role)
        rates = layer.learning_rate_factors.get("sgd", {})
        s = layer.initialization
        weight = torch.tensor([s.weight_scale, s.weight_std, rates.get("weight", 1.0)])
        return weight, torch.tensor([s.bias_scale, s.bias_std, rates.get("bias", 1.0)])

    powers = [torch.log2(wide / narrow) for narrow, wide in zip(scales(64), scales(128), strict=True)]
    a, b, c = ABC[parametrization][role]
    torch.testing.assert_close(powers[0], torch.tensor([-a, -b, -c], dtype=torch.float32))
    if role != "output":
        a, b, c = ABC[parametrization]["bias"]
        torch.testing.assert_close(powers[1], torch.tensor([-a, -b, -c], dtype=torch.float32))


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_effective_weights_start_with_the_same_spread(parametrization):
    """σ_w²/fan_in everywhere, and 1/m less in the readout where features are learned."""
    model = ng.MLP(300, 50, 400, 2, parametrization=parametrization, weight_std=1.4, bias_std=0.2)
    reference = ng.MLP(300, 50, 400, 2, parametrization="ntk", weight_std=1.4, bias_std=0.2)
    for i, (layer, ntk) in enumerate(zip(layers(model), layers(reference), strict=True)):
        extra = 1 / 20 if i == 2 and parametrization in ("mean_field", "mup") else 1
        start, expected = layer.initialization, ntk.initialization
        assert start.weight_scale * start.weight_std == pytest.approx(extra * expected.weight_scale)
        assert start.bias_scale * start.bias_std == pytest.approx(extra * 0.2)
        spread = (start.weight_scale * layer.weight).std().item()
        rounds = 4 / math.sqrt(2 * layer.weight.numel())
        assert spread == pytest.approx(extra * 1.4 / math.sqrt(layer.in_features), rel=rounds)


def test_convolutions_divide_by_their_whole_fan_in():
    for name in PARAMETRIZATIONS:
        conv = LayerFactory(8, name).conv(8, 8, 3).initialization
        dense = LayerFactory(8, name).linear(72, 8).initialization
        assert conv == dense


def test_gamma0_is_the_stated_output_scale_and_learning_rate(data):
    """f = h/(γ0√m) trained with η·γ0²·m, by hand and by the keyword."""
    gamma0 = 0.3
    plain, dialled = network(), network(gamma0=gamma0)
    by_hand = copy.deepcopy(plain)
    scale = 1 / (gamma0 * math.sqrt(WIDTH))
    torch.testing.assert_close(dialled(data.x), scale * plain(data.x), rtol=EXACT, atol=EXACT)
    train(dialled, data, learning_rate=0.01, steps=3)
    for _ in range(3):
        loss = 0.5 * (scale * by_hand(data.x) - data.y).square().sum()
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for p, g in zip(by_hand.parameters(), gradients, strict=True):
                p -= 0.01 * gamma0**2 * WIDTH * g
    torch.testing.assert_close(dialled(data.x), scale * by_hand(data.x), rtol=ITERATED, atol=ITERATED)
    assert (by_hand(data.x) - plain(data.x)).abs().max() > 0.1


def test_gamma0_of_one_is_the_mean_field_regime(data):
    one, other = network(gamma0=1.0), network(parametrization="mean_field")
    for model in (one, other):
        train(model, data, learning_rate=0.02, steps=5)
    torch.testing.assert_close(one(data.x), other(data.x), rtol=EXACT, atol=EXACT)


def test_mup_is_mean_field_with_the_width_moved_into_the_weights(generator):
    """With fan-ins of 1 and m and σ = 1 only the place of √m differs: the same path through function space."""
    data = ng.Dataset(*(torch.randn(6, k, dtype=torch.float64, generator=generator) for k in (1, 2)))
    settings = {"nonlinearity": "tanh", "bias_std": 1.0}
    models = [
        ng.MLP(1, 2, WIDTH, 3, parametrization=p, generator=torch.Generator().manual_seed(2), **settings).double()
        for p in ("mean_field", "mup")
    ]
    with torch.no_grad():
        for p, q in zip(models[1].parameters(), models[0].parameters(), strict=True):
            p.copy_(q / math.sqrt(WIDTH))
    start = models[0](data.x)
    torch.testing.assert_close(models[1](data.x), start, rtol=EXACT, atol=EXACT)
    for model in models:
        train(model, data, learning_rate=0.02, steps=10)
    torch.testing.assert_close(models[1](data.x), models[0](data.x), rtol=ITERATED, atol=ITERATED)
    assert (models[0](data.x) - start).abs().max() > 0.1


@pytest.mark.parametrize("settings", [{}, {"antisymmetric": True}, {"parametrization": "mup"}])
def test_alpha_trains_a_multiple_of_the_function_with_a_smaller_learning_rate(settings, data):
    plain, scaled = network(**settings), network(alpha=7.0, **settings)
    torch.testing.assert_close(scaled(data.x), 7 * plain(data.x), rtol=EXACT, atol=EXACT)
    by_hand = copy.deepcopy(plain)
    train(scaled, data, learning_rate=0.01, steps=3)
    for _ in range(3):
        loss = 0.5 * (7 * by_hand(data.x) - data.y).square().sum() / 7**2
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for p, g in zip(by_hand.parameters(), gradients, strict=True):
                p -= 0.01 * g
    torch.testing.assert_close(scaled(data.x), 7 * by_hand(data.x), rtol=ITERATED, atol=ITERATED)


def test_laziness_brings_training_to_its_linearization(data):
    """The error falls like 1/α² here: faster than the bound 1/α of Chizat, Oyallon, Bach (2019).

    The two halves of an antisymmetric network move in opposite directions at first, so that the
    second-order terms of their Taylor expansions cancel.
    """
    errors = []
    for alpha in (10.0, 40.0, 160.0):
        model = network(antisymmetric=True, alpha=alpha)
        linearized = ng.linearize(model)
        for net in (model, linearized):
            train(net, data, learning_rate=0.02, steps=40)
        errors.append((model(data.x) - linearized(data.x)).norm().item())
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(4**2, rel=1 / 10)  # up to higher orders in 1/α


def test_antisymmetric_networks_start_at_zero_with_the_kernel_of_the_single_one(data):
    model = network(antisymmetric=True)
    assert torch.equal(model(data.x), torch.zeros(6, 2, dtype=torch.float64))
    assert sum(p.numel() for p in model.parameters()) == 2 * sum(p.numel() for p in network().parameters())
    torch.testing.assert_close(ng.empirical_ntk(model, data.x), ng.empirical_ntk(network(), data.x))
    train(model, data, learning_rate=0.02, steps=1)
    assert model(data.x).abs().max() > 0.01


def test_wrappers_take_any_module(data):
    inner = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    wrapped = Scaled(Antisymmetric(inner), 3.0)
    assert wrapped(data.x).abs().max() == 0
    with torch.no_grad():
        wrapped.module.plus[0].bias += 0.1
    shifted = copy.deepcopy(inner)
    with torch.no_grad():
        shifted[0].bias += 0.1
    expected = 3 / math.sqrt(2) * (shifted(data.x) - inner(data.x))
    torch.testing.assert_close(wrapped(data.x), expected, rtol=EXACT, atol=EXACT)
    j = dense_jacobian(wrapped, data.x)
    torch.testing.assert_close(ng.empirical_ntk(wrapped, data.x, outputs="mean"), _mean_kernel(j, 6, 2))


def _mean_kernel(j, n, c):
    blocks = (j @ j.T).view(n, c, n, c)
    return torch.einsum("iaja->ij", blocks) / c


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
@pytest.mark.parametrize("optimizer", ["gd", "sgd", "adam"])
def test_ntk_and_standard_use_the_learning_rate_as_it_is(parametrization, optimizer):
    model = network(parametrization=parametrization)
    (group,) = parameter_groups(model, 0.3, optimizer)
    assert group["lr"] == 0.3
    assert all(p is q for p, q in zip(group["params"], model.parameters(), strict=True))


@pytest.mark.parametrize(
    "settings", [{"parametrization": "mean_field"}, {"parametrization": "mup"}, {"gamma0": 0.5}]
)
def test_adam_moves_effective_weights_by_the_learning_rate_over_the_fan_in(settings, data):
    """Adam's first step is η g/(|g| + ε): every effective weight moves by η/fan_in, every bias by η."""
    model = network(bias_std=0.2, **settings)
    before = copy.deepcopy(model)
    (0.5 * (before(data.x) - data.y).square().sum()).backward()
    train(model, data, learning_rate=0.01, steps=1, optimizer="adam")
    rate = 0.01 * settings.get("gamma0", 1.0)
    for layer, start in zip(layers(model), layers(before), strict=True):
        s = layer.initialization
        for scale, name, fan_in in ((s.weight_scale, "weight", layer.in_features), (s.bias_scale, "bias", 1)):
            p, p0 = getattr(layer, name), getattr(start, name)
            step = p0.grad / (p0.grad.abs() + 1e-8)
            torch.testing.assert_close(
                scale * (p - p0), -rate / fan_in * step, rtol=ITERATED, atol=ITERATED * rate
            )


def test_every_parameter_is_in_one_group(data):
    model = Scaled(network(parametrization="mup", antisymmetric=True), 2.0)
    groups = parameter_groups(model, 0.1, "adam")
    found = [p for group in groups for p in group["params"]]
    assert len(found) == len({id(p) for p in found}) == len(list(model.parameters()))
    assert len(groups) == len({group["lr"] for group in groups}) > 1


def test_tied_parameters_that_want_two_learning_rates_are_refused():
    layer = nn.Linear(3, 3)
    assert len(parameter_groups(nn.Sequential(layer, layer), 0.1)) == 1
    with pytest.raises(ModelError, match=r"parameter 1.module.weight is shared"):
        parameter_groups(nn.Sequential(layer, Scaled(layer, 2.0)), 0.1)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"parametrization": "mup"},
        {"parametrization": "mean_field"},
        {"gamma0": 0.3, "alpha": 2.0},
        {"alpha": 5.0},
    ],
)
def test_the_kernel_that_gradient_descent_follows_is_the_factor_times_the_kernel(settings, data):
    """In the linearized model r ← (I − η · factor · K) r, whatever parametrization and scale."""
    linearized = ng.linearize(network(**settings))
    gram = ng.as_matrix(ng.empirical_ntk(linearized, data.x))
    rate = 0.5 / (learning_rate_factor(linearized) * torch.linalg.eigvalsh(gram)[-1].item())
    expected = linear_gradient_descent(
        gram, (linearized(data.x) - data.y).detach(), rate * learning_rate_factor(linearized), 8
    )
    losses = train(linearized, data, learning_rate=rate, steps=8).losses
    torch.testing.assert_close(
        torch.tensor(losses, dtype=torch.float64), 0.5 * expected.square().sum(1), rtol=ITERATED, atol=0
    )


def test_one_factor_is_given_only_where_there_is_one():
    assert learning_rate_factor(network(parametrization="mean_field", alpha=2.0)) == WIDTH / 4
    assert learning_rate_factor(nn.Linear(2, 1), "adam") == 1
    with pytest.raises(ModelError, match=r"between .*·η and .*·η, so there is no one factor"):
        learning_rate_factor(network(parametrization="mup"), "adam")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: parameter_groups(nn.ReLU(), 0.1), r"no parameters"),
        (lambda: parameter_groups(nn.Linear(1, 1), -0.1), r"learning_rate must be positive and finite"),
        (
            lambda: parameter_groups(nn.Linear(1, 1), 0.1, "lion"),
            r"unknown optimizer 'lion'; choose one of gd, sgd",
        ),
        (lambda: Scaled(nn.Linear(1, 1), 0.0), r"factor must be finite and not 0"),
        (lambda: network(gamma0=0.5, parametrization="mup"), r"gamma0=0.5 with parametrization='mup'"),
        (lambda: network(gamma0=0.0), r"gamma0 must be positive and finite"),
        (lambda: network(alpha=0.0), r"alpha must be positive and finite"),
        (lambda: network(alpha=math.nan), r"alpha must be positive"),
        (
            lambda: network(parametrization="mean_field", bias_std=0.0, bias=True),
            r"mean_field parametrization a layer",
        ),
        (lambda: LayerFactory(4).linear(1, 1, "middle"), r"unknown role 'middle'"),
    ],
)
def test_bad_scales_are_named(build, words):
    with pytest.raises(ModelError, match=words):
        build()
