import copy
import math

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from ntkgap.models import NTKConv2d, NTKLinear
from ntkgap.practice import kfac_descent, natural_gradient_descent, train
from ntkgap.practice.optimizers.kronecker_factors import KroneckerFactors, kronecker_factors, split, trained_layers
from tests.reference.kronecker import Offset, exact_block, independent_block, jacobian_by
from tests.tolerances import EXACT, ITERATED


def draw(generator, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def dataset(generator, x_shape, outputs, n):
    return ng.Dataset(draw(generator, n, *x_shape), draw(generator, n, outputs))


def factors_of(model, data):
    layers = trained_layers(model)
    return layers, *kronecker_factors(model, data, layers)


def mlp(generator):
    with torch.no_grad():
        plain = nn.Linear(6, 5).double()  # a layer of torch between two scaled ones
        plain.weight.copy_(draw(generator, 5, 6))
    return nn.Sequential(
        NTKLinear(4, 6, 1.3, 0.2, generator=generator),
        nn.Tanh(),
        plain,
        nn.ReLU(inplace=True),
        NTKLinear(5, 3, generator=generator),
    ).double()


def test_one_dense_layer_is_the_exact_natural_gradient(generator):
    data = dataset(generator, (5,), 3, n=20)
    model = NTKLinear(5, 3, 1.5, 0.3, generator=generator).double()
    exact = copy.deepcopy(model)
    curve = kfac_descent(model, data, learning_rate=0.4, steps=3, damping=0.0)
    # In parameter form, (JᵀJ)⁻¹Jᵀr, as a least-squares problem over (weight, bias).
    joint = torch.cat([data.x * 1.5 / 5**0.5, torch.full((20, 1), 0.3, dtype=torch.float64)], dim=1)
    for _ in range(3):
        step = torch.linalg.lstsq(joint, (exact(data.x) - data.y).detach()).solution.T
        with torch.no_grad():
            exact.weight -= 0.4 * step[:, :-1]
            exact.bias -= 0.4 * step[:, -1]
    torch.testing.assert_close(model.weight, exact.weight, rtol=ITERATED, atol=ITERATED)
    torch.testing.assert_close(model.bias, exact.bias, rtol=ITERATED, atol=ITERATED)
    assert len(curve.losses) == 4


def test_one_dense_layer_follows_the_path_of_natural_gradient_descent(generator):
    """With as many examples as inputs the Gram matrix and the factors can both be inverted undamped."""
    data = dataset(generator, (4,), 2, n=4)
    model = NTKLinear(4, 2, generator=generator).double()
    exact = copy.deepcopy(model)
    kfac_descent(model, data, learning_rate=0.5, steps=5, damping=0.0)
    natural_gradient_descent(exact, data, learning_rate=0.5, steps=5)
    torch.testing.assert_close(model.weight, exact.weight, rtol=ITERATED, atol=ITERATED)


def test_with_one_example_blocks_are_exact(generator):
    model, data = mlp(generator), dataset(generator, (4,), 3, n=1)
    layers, _, factors = factors_of(model, data)
    for name in layers:
        found = torch.kron(factors[name].gradients, factors[name].inputs)
        torch.testing.assert_close(found, exact_block(model, name, data.x), rtol=EXACT, atol=EXACT)


def test_a_convolution_with_one_position_is_exact_for_one_example(generator):
    model = nn.Sequential(
        NTKConv2d(2, 4, 3, 1, 0, "zeros", 1.2, 0.1, generator=generator), nn.Flatten(), nn.Tanh()
    )
    model = nn.Sequential(*model, NTKLinear(4, 2, generator=generator)).double()
    data = dataset(generator, (2, 3, 3), 2, n=1)
    _, _, factors = factors_of(model, data)
    found = torch.kron(factors["0"].gradients, factors["0"].inputs)
    torch.testing.assert_close(found, exact_block(model, "0", data.x), rtol=EXACT, atol=EXACT)


def test_dense_blocks_are_those_of_independent_inputs_and_gradients(generator):
    model, data = mlp(generator), dataset(generator, (4,), 3, n=6)
    layers, _, factors = factors_of(model, data)
    hidden = {"0": data.x, "2": model[:2](data.x), "4": model[:4](data.x)}
    scales = {"0": (1.3 / 2, 0.2), "2": (1.0, 1.0), "4": (5**-0.5, None)}
    for name in layers:
        weight, bias = scales[name]
        a = weight * hidden[name].detach()
        with_offset = nn.Sequential(*model[: int(name) + 1], Offset(a.shape[0]), *model[int(name) + 1 :])
        with_offset[int(name) + 1].zero = nn.Parameter(torch.zeros(layers[name].out_features).double())
        g = jacobian_by(with_offset, f"{int(name) + 1}.zero", data.x)[..., None]
        if bias is not None:
            a = torch.cat([a, torch.full((len(a), 1), bias, dtype=torch.float64)], dim=1)
        found = torch.kron(factors[name].gradients, factors[name].inputs)
        torch.testing.assert_close(found, independent_block(g, a[..., None]), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_convolution_blocks_are_those_of_homogeneous_uncorrelated_positions(mode, generator):
    conv = NTKConv2d(2, 3, (3, 2), (2, 1), (1, 1), mode, 1.1, 0.4, generator=generator).double()
    readout = NTKLinear(30, 2, generator=generator).double()
    data = dataset(generator, (2, 4, 4), 2, n=3)
    model = nn.Sequential(conv, nn.Tanh(), nn.Flatten(), readout)
    _, _, factors = factors_of(model, data)
    with_offset = nn.Sequential(conv, Offset(3, 2, 5), nn.Tanh(), nn.Flatten(), readout)
    g = jacobian_by(with_offset, "1.zero", data.x).flatten(3)  # [n, C, o, S]
    # The patches, read off the layer: what every entry of a filter is multiplied by at every position.
    one_filter = copy.deepcopy(conv)
    patches = jacobian_by(nn.Sequential(one_filter), "0.weight", data.x)[:, 0, :, :, 0]  # of filter 0
    a = patches.flatten(3).movedim(3, 1).flatten(2)
    a = torch.cat([a, torch.full((3, 1, a.shape[2]), 0.4, dtype=torch.float64)], dim=1)  # [n, d, S]
    found = torch.kron(factors["0"].gradients, factors["0"].inputs)
    torch.testing.assert_close(found, independent_block(g, a), rtol=EXACT, atol=EXACT)


def test_gradients_come_with_the_factors(generator):
    convnet = ng.ConvNet(
        1, 3, 4, 2, "tanh", bias_std=0.1, alpha=2.0, antisymmetric=True, generator=generator
    ).double()
    for model, shape in ((mlp(generator), (4,)), (convnet, (1, 5, 5))):
        data = dataset(generator, shape, 3, n=4)
        layers, residual, factors = factors_of(model, data)
        assert len(layers) == (3 if shape == (4,) else 6)
        loss = 0.5 * (model(data.x) - data.y).square().sum()
        assert 0.5 * residual.square().sum().item() == pytest.approx(loss.item(), rel=EXACT)
        for name, layer in layers.items():
            exact = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
            for found, g in zip(split(layer, factors[name].gradient), exact, strict=True):
                torch.testing.assert_close(found, g, rtol=EXACT, atol=EXACT)


def test_damping_is_split_between_the_factors(generator):
    roots = draw(generator, 7, 4), draw(generator, 9, 3)
    a, g = (root.T @ root for root in roots)
    gradient = draw(generator, 3, 4)
    pi = math.sqrt((a.trace() / 4) / (g.trace() / 3))  # then both are damped by the same fraction of their mean
    damped = torch.kron(
        g + 0.5**0.5 / pi * torch.eye(3, dtype=a.dtype), a + pi * 0.5**0.5 * torch.eye(4, dtype=a.dtype)
    )
    expected = torch.linalg.solve(damped, gradient.flatten()).view(3, 4)
    found = KroneckerFactors(a, g, gradient).precondition(0.5)
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)


def test_momentum_is_the_heavy_ball(generator):
    """On a linear model preconditioned by its own curvature, r ← r − ηr + μ(r − r_before) for the fitted part."""
    data = dataset(generator, (3,), 2, n=8)
    model = nn.Linear(3, 2, bias=False).double()
    onto = data.x @ torch.linalg.pinv(data.x)
    r = (model(data.x) - data.y).detach()
    before, expected = r, []
    for _ in range(7):
        expected.append(0.5 * r.square().sum())
        r, before = r - 0.3 * onto @ r + 0.6 * (r - before), r
    curve = kfac_descent(model, data, learning_rate=0.3, steps=6, damping=0.0, momentum=0.6)
    measured = torch.tensor(curve.losses, dtype=torch.float64)
    torch.testing.assert_close(measured, torch.stack(expected), rtol=ITERATED, atol=0)


@pytest.mark.parametrize("images", [False, True])
def test_it_gets_far_ahead_of_gradient_descent_on_digits(images, generator):
    data, test = ng.load_data("digits", 40, 20)
    if images:
        data, test = (ng.Dataset(d.x.view(-1, 1, 8, 8), d.y, 10) for d in (data, test))
    build = ng.MLP(64, 10, 64, 2, generator=generator)
    if images:
        build = ng.ConvNet(1, 10, 8, 1, image_size=8, pooling="flatten", generator=generator)
    critical = 2 / ng.NTKOperator(build, data.x).eigenvalue_range().largest
    slow = train(copy.deepcopy(build), data, learning_rate=critical / 2, steps=10)
    curve = kfac_descent(build, data, learning_rate=0.25, steps=10, damping=0.01, test=test)
    assert curve.losses[-1] < 0.2 * slow.losses[-1]
    assert all(b < a for a, b in zip(curve.losses, curve.losses[1:], strict=False))
    assert len(curve.test_losses) == len(curve.seconds) == 11


def test_a_singular_factor_ends_the_run_with_the_remedy(generator):
    data = dataset(generator, (6,), 1, n=3)  # fewer examples than inputs
    model = nn.Linear(6, 1).double()
    curve = kfac_descent(model, data, learning_rate=0.5, steps=3, damping=0.0)
    assert curve.stopped == "a Kronecker factor is numerically singular at step 0; set a larger damping"
    assert len(curve.losses) == len(curve.seconds) == 1
    assert kfac_descent(model, data, learning_rate=0.5, steps=3, damping=0.1).stopped is None


def test_frozen_layers_stay(generator):
    data, model = dataset(generator, (4,), 3, n=6), mlp(generator)
    model[2].requires_grad_(False)
    before = copy.deepcopy(model)
    curve = kfac_descent(model, data, learning_rate=0.5, steps=3, damping=0.1)
    assert torch.equal(model[2].weight, before[2].weight)
    assert not torch.equal(model[0].weight, before[0].weight)
    assert curve.losses[-1] < curve.losses[0]


class Twice(nn.Module):
    """One layer called twice, or its weight used once more outside of it."""

    def __init__(self, outside):
        super().__init__()
        self.layer, self.outside = nn.Linear(4, 4).double(), outside

    def forward(self, x):
        once = torch.tanh(self.layer(x))
        return once @ self.layer.weight if self.outside else self.layer(once)


class Doubled(nn.Linear):
    """Not the layer that its class says it is."""

    def forward(self, x):
        return 2 * super().forward(x)


def tied():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second).double()


def frozen_bias():
    layer = nn.Linear(4, 4).double()
    layer.bias.requires_grad_(False)
    return nn.Sequential(nn.Linear(4, 4).double(), layer)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)).double(), r"factors for 1 \(a LayerNorm\)"),
        (nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.Flatten()), r"0 \(a convolution in 2 groups\)"),
        (nn.Flatten(), r"no parameters"),
        (Twice(False), r"layer layer is called 2 times in one pass"),
        (Twice(True), r"gradients of layer are not those of a plain layer"),
        (Doubled(4, 4).double(), r"gradients of Doubled are not those of a plain layer"),
        (
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False)).double(),
            r"normalizes over the batch in train mode.*model.eval",
        ),
        (tied(), r"2 \(which shares a parameter with 0\)"),
        (frozen_bias(), r"1 \(frozen in part\)"),
        (nn.Linear(4, 3).double(), r"outputs have shape \(6, 3\), the targets \(6, 4\)"),
    ],
)
def test_what_is_not_covered_is_named(model, words, generator):
    data = dataset(generator, (4,), 4, n=6)
    with pytest.raises(ModelError, match=words):
        kfac_descent(model, data, learning_rate=0.1, steps=1, damping=0.1)


@pytest.mark.parametrize(
    "settings", [{"damping": -1.0}, {"momentum": 1.0}, {"learning_rate": 0.0}, {"steps": True}]
)
def test_bad_settings_are_named(settings, generator):
    data = dataset(generator, (4,), 3, n=6)
    with pytest.raises(StudyError, match=next(iter(settings))):
        kfac_descent(mlp(generator), data, **({"learning_rate": 0.1, "steps": 1, "damping": 0.1} | settings))
