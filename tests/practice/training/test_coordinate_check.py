import math

import numpy as np
import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.models import ConvNet, Transformer, WideResNet
from ntkgap.practice import coordinate_check
from ntkgap.practice.training.coordinate_check import activations, fit_exponent
from tests.tolerances import EXACT, SINGLE

WIDTHS = [64, 128, 256, 512, 1024]
# The exponents of the theory are multiples of ½: a measured one is told from the next by less than half of that.
RESOLUTION = 0.2


def few_examples(n_outputs=10):
    """Targets much larger than outputs at the start, so that the residual is the same at every width."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(8, k, generator=generator) for k in (4, n_outputs))
    return ng.Dataset(x, 3 * y)


def mlp(parametrization, depth=2, **settings):
    return lambda width: ng.MLP(4, 10, width, depth, "relu", parametrization, weight_std=math.sqrt(2), **settings)


# Exponents of the change of both hidden layers and of the output after two steps at a fixed learning rate.
CHANGES = [
    ("standard", "gd", 1e-6, [-0.5, 0.5, 1.0]),  # ∂f/∂h is 1/√m an entry; the sum over m inputs is coherent
    ("ntk", "gd", 0.02, [-0.5, -0.5, 0.0]),
    ("mean_field", "gd", 0.01, [0.0, 0.0, 0.0]),
    ("mup", "gd", 0.01, [0.0, 0.0, 0.0]),
    ("mean_field", "adam", 0.02, [0.0, 0.0, 0.0]),
    ("mup", "adam", 0.02, [0.0, 0.0, 0.0]),
]


@pytest.mark.parametrize(("parametrization", "optimizer", "rate", "expected"), CHANGES)
def test_parametrizations_move_activations_as_their_tables_say(parametrization, optimizer, rate, expected):
    check = coordinate_check(
        mlp(parametrization),
        few_examples(),
        WIDTHS,
        steps=2,
        learning_rate=rate,
        seeds=range(6),
        optimizer=optimizer,
    )
    assert check.layers == ["1", "3", "output"]
    for layer, exponent in zip(check.layers, expected, strict=True):
        assert check.change_exponent(layer).value == pytest.approx(exponent, abs=RESOLUTION)
    start = -0.5 if parametrization in ("mean_field", "mup") else 0.0
    assert check.initial_exponent("output").value == pytest.approx(start, abs=RESOLUTION)
    for layer in ("1", "3"):
        assert check.initial_exponent(layer).value == pytest.approx(0.0, abs=RESOLUTION / 2)


def test_mean_field_networks_with_one_hidden_layer_learn_features_at_any_width():
    check = coordinate_check(
        mlp("mean_field", depth=1), few_examples(), WIDTHS, steps=3, learning_rate=0.01, seeds=range(6)
    )
    for layer in check.layers:
        assert check.change_exponent(layer).value == pytest.approx(0.0, abs=RESOLUTION)
    assert (check.change["1"] > 0.1 * check.initial["1"]).all()


NETWORKS = {
    "Transformer": (lambda w: Transformer(4, 10, w, 1, parametrization="mup", heads=2, scaling="linear"), (5, 4)),
    "ConvNet": (lambda w: ConvNet(2, 10, w, 2, parametrization="mup", weight_std=math.sqrt(2)), (2, 4, 4)),
    "WideResNet": (lambda w: WideResNet(2, 10, w, 1, parametrization="mup", weight_std=math.sqrt(2)), (2, 4, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("optimizer", "rate"), [("gd", 1e-3), ("adam", 1e-3)])
def test_every_layer_of_every_network_learns_in_mup(name, optimizer, rate):
    build_model, shape = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    data = ng.Dataset(torch.randn(8, *shape, generator=generator), 3 * torch.randn(8, 10, generator=generator))
    check = coordinate_check(
        build_model, data, [32, 64, 128], steps=2, learning_rate=rate, seeds=range(4), optimizer=optimizer
    )
    for layer in check.layers:
        assert check.change_exponent(layer).value == pytest.approx(0.0, abs=RESOLUTION)


@pytest.mark.parametrize("gamma0", [0.1, 1.0])
def test_the_dial_sets_how_much_is_learned_and_not_how_it_scales(gamma0):
    check = coordinate_check(
        mlp("ntk", gamma0=gamma0), few_examples(), WIDTHS[1:], steps=2, learning_rate=0.005, seeds=range(3)
    )
    layer = check.layers[1]
    assert check.change_exponent(layer).value == pytest.approx(0.0, abs=RESOLUTION)
    moved = (check.change[layer] / check.initial[layer]).mean()
    rich = coordinate_check(
        mlp("mean_field"), few_examples(), WIDTHS[1:], steps=2, learning_rate=0.005, seeds=range(3)
    )
    reference = (rich.change["3"] / rich.initial["3"]).mean()
    assert moved == pytest.approx(
        gamma0 * reference, rel=0.3
    )  # both to first order in what they learn, 5 % and 50 %


def test_sizes_are_root_mean_squares_of_activations_and_their_change():
    data = few_examples(1)
    check = coordinate_check(
        lambda width: nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 1)),
        data,
        [3, 2, 3],
        steps=1,
        learning_rate=0.01,
        seeds=[5, 6],
    )
    assert check.widths == (2, 3)
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    before = model[0](data.x).detach()
    (0.5 * (model(data.x) - data.y).square().sum()).backward()
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    change = (model[0](data.x) - before).square().mean().sqrt().item()
    assert check.initial["0"][1, 1] == pytest.approx(before.square().mean().sqrt().item(), rel=SINGLE)
    assert check.change["0"][1, 1] == pytest.approx(change, rel=SINGLE)


def test_exponents_are_slopes_with_students_interval():
    widths = [10, 100, 1000]
    sizes = np.stack([2.0 * np.array(widths) ** p for p in (0.4, 0.5, 0.6)])
    found = fit_exponent(widths, sizes)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # t quantile of two degrees of freedom
    assert found.value == pytest.approx(0.5, rel=EXACT)
    assert (found.low, found.high) == (pytest.approx(0.5 - half, rel=EXACT), pytest.approx(0.5 + half, rel=EXACT))
    assert math.isnan(fit_exponent(widths, sizes * [[1, 1, 0]]).value)
    assert math.isnan(fit_exponent(widths, sizes * [[1, 1, math.inf]]).value)


def test_divergence_is_an_infinite_change():
    check = coordinate_check(mlp("standard"), few_examples(), [8, 16], steps=9, learning_rate=10.0)
    assert np.isinf(check.change["output"]).all()
    assert math.isnan(check.change_exponent("output").value)


def test_measuring_leaves_nothing_behind():
    model = ng.MLP(4, 10, 8, 2)
    assert list(activations(model, few_examples().x)) == ["1", "3", "output"]
    assert all(not m._forward_hooks for m in model.modules())
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    coordinate_check(mlp("ntk"), few_examples(), [2, 4], steps=1, learning_rate=0.01)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"widths": [4, 4]}, r"at least two different widths, got \[4\]"),
        ({"seeds": [1]}, r"at least two different ones, got \[1\]"),
        ({"steps": 0}, r"steps must be an integer of at least 1"),
        ({"learning_rate": -1.0}, r"learning_rate must be positive"),
        ({"optimizer": "lion"}, r"unknown optimizer"),
        (
            {"build_model": lambda width: ng.MLP(4, 10, width, width)},
            r"build_model\(3\) has the layers 1, 3, 5, output, but build_model\(2\) 1, 3, output",
        ),
    ],
)
def test_bad_settings_are_named(settings, words):
    given = {"build_model": mlp("ntk"), "widths": [2, 3], "steps": 1, "learning_rate": 0.01} | settings
    build_model, widths = given.pop("build_model"), given.pop("widths")
    with pytest.raises(StudyError, match=words):
        coordinate_check(build_model, few_examples(), widths, **given)
