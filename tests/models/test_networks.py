"""What all reference networks have in common, and what each is."""

import math

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.kernels import jacobian
from ntkgap.models import (
    PARAMETRIZATIONS,
    VGG,
    ConvNet,
    LayerFactory,
    NTKConv2d,
    SelfAttention,
    Transformer,
    WideResNet,
)
from tests.reference.empirical import batched_jacobian, kernel
from tests.tolerances import EXACT, ITERATED, SINGLE

# (build, shape of an example); width 4 wherever nothing else is said
NETWORKS = {
    "MLP": (lambda **s: ng.MLP(6, 3, depth=2, **s), (2, 3)),
    "ConvNet": (lambda **s: ConvNet(2, 3, depth=2, **s), (2, 4, 5)),
    "ConvNet-flat": (lambda **s: ConvNet(2, 3, depth=2, pooling="flatten", image_size=(4, 5), **s), (2, 4, 5)),
    "ConvNet-circular": (lambda **s: ConvNet(2, 3, depth=2, padding_mode="circular", **s), (2, 4, 5)),
    "VGG": (lambda **s: VGG(2, 3, depth=2, **s), (2, 5, 4)),
    "VGG-max-flat": (
        lambda **s: VGG(2, 3, depth=3, convolutions=1, stage_pooling="max", pooling="flatten", image_size=6, **s),
        (2, 6, 6),
    ),
    "WideResNet": (lambda **s: WideResNet(2, 3, depth=1, **s), (2, 6, 6)),
    "WideResNet-group": (
        lambda **s: WideResNet(2, 3, depth=2, normalization="group", padding_mode="circular", **s),
        (2, 5, 5),
    ),
    "Transformer": (lambda **s: Transformer(5, 3, depth=2, heads=2, **s), (3, 5)),
    "Transformer-linear": (lambda **s: Transformer(5, 3, depth=1, scaling="linear", **s), (3, 5)),
    "ViT": (lambda **s: Transformer(2, 3, depth=1, heads=2, patch_size=2, **s), (2, 4, 6)),
}
everything = pytest.mark.parametrize("name", NETWORKS)


def make(name, width=4, seed=0, **settings):
    build, shape = NETWORKS[name]
    model = build(width=width, generator=torch.Generator().manual_seed(seed), **settings).double()
    x = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    return model, x


@everything
@pytest.mark.parametrize("parametrization", ["ntk", "mup"])
def test_kernels_agree_with_the_written_out_jacobian(name, parametrization):
    model, x = make(name, parametrization=parametrization, bias_std=0.3, weight_std=1.5)
    at = jacobian(model, x)
    assert not at.recipe.fallback
    expected = kernel(batched_jacobian(model, x))
    torch.testing.assert_close(at.gram(), expected, rtol=EXACT, atol=EXACT * expected.abs().max().item())


@everything
@pytest.mark.parametrize("settings", [{}, {"alpha": 2.0, "antisymmetric": True}])
def test_symbolic_tracing_sees_the_same_function(name, settings):
    model, x = make(name, bias_std=0.3, **settings)
    torch.testing.assert_close(fx.symbolic_trace(model)(x), model(x), rtol=0, atol=0)


@everything
def test_scales_and_the_antisymmetric_start_are_keywords(name):
    plain, x = make(name)
    gamma0 = 0.5
    torch.testing.assert_close(make(name, alpha=3.0)[0](x), 3 * plain(x), rtol=EXACT, atol=EXACT)
    dialled = make(name, gamma0=gamma0)[0](x)
    torch.testing.assert_close(dialled, plain(x) / (gamma0 * math.sqrt(4)), rtol=EXACT, atol=EXACT)
    assert make(name, antisymmetric=True, alpha=3.0)[0](x).abs().max() == 0
    with pytest.raises(ModelError, match=r"gamma0=0.5 with parametrization='standard'"):
        make(name, gamma0=0.5, parametrization="standard")
    with pytest.raises(ModelError, match=r"alpha must be positive"):
        make(name, alpha=-1.0)


@everything
def test_all_parametrizations_are_one_function_up_to_the_readout(name):
    """Given the same random numbers; without biases the readout's 1/√m is all that differs."""
    plain, x = make(name)
    for parametrization in PARAMETRIZATIONS:
        factor = 1 / math.sqrt(4) if parametrization in ("mean_field", "mup") else 1.0
        found = make(name, parametrization=parametrization)[0](x)
        torch.testing.assert_close(found, factor * plain(x), rtol=SINGLE, atol=SINGLE)  # drawn in float32


@everything
def test_width_is_the_one_knob(name):
    sizes = [sum(p.numel() for p in make(name, width=w)[0].parameters()) for w in (32, 64)]
    if name == "ConvNet-flat" or name == "VGG-max-flat":
        assert sizes[1] > 2 * sizes[0]
    else:
        assert sizes[1] == pytest.approx(4 * sizes[0], rel=0.15)  # quadratic, up to the first and the last layer


@everything
def test_the_generator_decides_everything(name):
    torch.manual_seed(1)
    a = make(name, seed=3, bias_std=0.1, antisymmetric=True)[0].state_dict()
    torch.manual_seed(2)
    b = make(name, seed=3, bias_std=0.1, antisymmetric=True)[0].state_dict()
    assert all(torch.equal(a[key], b[key]) for key in a)
    c = make(name, seed=4, bias_std=0.1)[0](make(name)[1])
    assert not torch.equal(c, make(name, seed=3, bias_std=0.1)[0](make(name)[1]))


def test_outputs_of_a_convnet_have_the_variance_of_the_recursion():
    """With circular padding constant images stay constant, so they follow the recursion of the MLP."""
    image = torch.full((1, 2, 3, 3), 1.5)
    outputs = [
        ConvNet(2, 20, 100, 2, weight_std=1.3, bias_std=0.4, padding_mode="circular")(image) for _ in range(60)
    ]
    variance = 1.3**2 * 1.5**2 + 0.4**2
    for _ in range(2):
        variance = 1.3**2 * variance / 2 + 0.4**2
    # 1200 outputs, 20 of each network share its features: a relative error of √(2/1200) and some
    assert torch.cat(outputs).square().mean().item() == pytest.approx(variance, rel=0.2)


def test_a_circular_convnet_does_not_see_shifts(generator):
    model = ConvNet(2, 3, 8, 3, padding_mode="circular", generator=generator).double()
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(model(x.roll((1, 2), (2, 3))), model(x), rtol=EXACT, atol=EXACT)


def test_vgg_doubles_its_channels_and_halves_its_images():
    model = VGG(3, 10, 4, 5, convolutions=1)
    assert [m.out_channels for m in model.modules() if isinstance(m, NTKConv2d)] == [4, 8, 16, 32, 32]
    assert [type(m) for m in model].count(nn.AvgPool2d) == 4
    assert model(torch.zeros(2, 3, 16, 19)).shape == (2, 10)


def test_wide_resnet_is_its_description(generator):
    """Layer by layer, with nothing but convolutions and sums."""
    model = WideResNet(2, 3, 4, 1, weight_std=1.5, generator=generator).double()
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64, generator=generator)

    def conv(layer, h, stride=1):
        weight = 1.5 / math.sqrt(layer.weight[0].numel()) * layer.weight
        return F.conv2d(h, weight, stride=stride, padding=layer.weight.shape[-1] // 2)

    h = conv(model[1], x)
    for i, stride in enumerate((1, 2, 2)):
        block = model[2 + i]
        active = torch.relu(h)
        inner = conv(block.residual[2], torch.relu(conv(block.residual[0], active, stride)))
        h = (h if stride == 1 else conv(block.shortcut, active, stride)) + inner
    assert h.shape == (2, 16, 2, 2)
    readout = model[-1].weight * 1.5 / math.sqrt(16)
    expected = torch.relu(h).mean((2, 3)) @ readout.T
    torch.testing.assert_close(model(x), expected, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("scaling", ["sqrt", "linear"])
def test_attention_is_its_formula(scaling, generator):
    factory = LayerFactory(6, weight_std=1.5, generator=generator)
    attention = SelfAttention(6, heads=2, scaling=scaling, factory=factory).double()
    x = torch.randn(4, 5, 6, dtype=torch.float64, generator=generator)

    def project(layer, h):
        return 1.5 / math.sqrt(6) * h @ layer.weight.T

    mixed = torch.zeros_like(x)
    for n in range(4):
        for head in (slice(0, 3), slice(3, 6)):
            q = project(attention.query, x[n])[:, head]
            k = q if scaling == "linear" else project(attention.key, x[n])[:, head]
            scores = (q @ k.T / (3 if scaling == "linear" else math.sqrt(3))).exp()
            mixed[n, :, head] = scores / scores.sum(1, keepdim=True) @ project(attention.value, x[n])[:, head]
    torch.testing.assert_close(attention(x), project(attention.output, mixed), rtol=EXACT, atol=EXACT)
    assert (attention.key is None) == (scaling == "linear")


def test_tied_linear_logits_tend_to_the_covariance_of_the_queries(generator):
    """QQᵀ/d is the mean of d products of normal variables: entries within 5 standard errors of σ_w² xxᵀ/m."""
    width, tokens = 512, 4
    x = torch.randn(tokens, width, dtype=torch.float64, generator=generator)
    attention = SelfAttention(width, 1, "linear", factory=LayerFactory(width, weight_std=1.5, generator=generator))
    q = attention.double().query(x)
    covariance = 1.5**2 * x @ x.T / width
    error = ((covariance.diagonal()[:, None] * covariance.diagonal() + covariance**2) / width).sqrt()
    assert ((q @ q.T * attention.scale - covariance).abs() < 5 * error).all()


def test_a_transformer_is_its_description(generator):
    """Embedding, one block of two residual branches behind normalizations, normalization, mean, readout."""
    model = Transformer(3, 2, 4, 1, "tanh", heads=2, weight_std=1.5, generator=generator).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator)

    def project(layer, h):
        return 1.5 / math.sqrt(h.shape[-1]) * h @ layer.weight.T

    def normal(h):
        h = h - h.mean(-1, keepdim=True)
        return h / (h.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    _, embedding, block, _, _, readout = model
    h = project(embedding, x)
    h = h + block.attention[1](normal(h))
    assert block.perceptron[1].out_features == 16
    h = h + project(block.perceptron[3], torch.tanh(project(block.perceptron[1], normal(h))))
    expected = project(readout, normal(h).mean(1))
    torch.testing.assert_close(model(x), expected, rtol=EXACT, atol=EXACT)


def test_a_transformer_does_not_see_the_order_of_tokens(generator):
    model = Transformer(3, 2, 8, 2, heads=4, generator=generator).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(model(x.flip(1)), model(x), rtol=ITERATED, atol=ITERATED)


def test_patches_are_the_tokens(generator):
    """A vision transformer on patches is the transformer on their flattened pixels."""
    settings = {"bias_std": 0.2, "weight_std": 1.4}
    vision = Transformer(2, 3, 4, 1, patch_size=2, generator=torch.Generator().manual_seed(1), **settings).double()
    tokens = Transformer(8, 3, 4, 1, generator=torch.Generator().manual_seed(1), **settings).double()
    images = torch.randn(2, 2, 4, 6, dtype=torch.float64, generator=generator)
    cut = torch.stack([images[:, :, i : i + 2, j : j + 2].flatten(1) for i in (0, 2) for j in (0, 2, 4)], 1)
    torch.testing.assert_close(vision(images), tokens(cut), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ConvNet(0, 1, 4, 1), r"in_channels must be an integer of at least 1"),
        (lambda: ConvNet(1, 1, 4, 0), r"depth must be"),
        (
            lambda: ConvNet(1, 1, 4, 1, pooling="max"),
            r"unknown pooling 'max'; choose one of global_average, flatten",
        ),
        (lambda: ConvNet(1, 1, 4, 1, pooling="flatten"), r"pooling='flatten' .* give image_size"),
        (lambda: ConvNet(1, 1, 4, 1, image_size=0), r"image_size must be an integer of at least 1 or a pair"),
        (lambda: ConvNet(1, 1, 4, 1, padding_mode="mirror"), r"unknown padding_mode 'mirror'"),
        (lambda: ConvNet(1, 1, 4, 1, nonlinearity="loud"), r"unknown nonlinearity"),
        (
            lambda: ConvNet(1, 1, 4, 1, "relu", "loud"),
            r"unknown parametrization 'loud'; choose one of ntk, standard",
        ),
        (lambda: ConvNet(3, 1, 4, 1)(torch.zeros(2, 8, 8, 3)), r"in_channels=3 .*x.movedim\(-1, 1\)"),
        (lambda: ConvNet(1, 1, 4, 1)(torch.zeros(2, 8, 8)), r"in_channels=1 .*x.unsqueeze\(1\)"),
        (lambda: ConvNet(1, 1, 4, 1)(torch.zeros(2, 64)), r"shape \(2, 64\); it takes images \[n, 1, H, W\]"),
        (
            lambda: ConvNet(1, 1, 4, 1, image_size=8)(torch.zeros(2, 1, 8, 7)),
            r"image_size=\(8, 8\) .* \(8, 7\) pixels",
        ),
        (lambda: VGG(1, 1, 4, 4, image_size=7), r"\(7, 7\) pixels cannot be halved 3 times .* 8 pixels a side"),
        (lambda: VGG(1, 1, 4, 4)(torch.zeros(2, 1, 7, 9)), r"\(7, 9\) pixels are too small .* needs 8 a side"),
        (lambda: VGG(1, 1, 4, 1, convolutions=0), r"convolutions must be"),
        (lambda: VGG(1, 1, 4, 1, stage_pooling="median"), r"unknown stage_pooling 'median'"),
        (
            lambda: WideResNet(1, 1, 4, 1, normalization="layer"),
            r"unknown normalization 'layer'; choose one of None",
        ),
        (
            lambda: WideResNet(1, 1, 4, 1, normalization="group")(torch.zeros(2, 1, 4, 4)),
            r"\(4, 4\) pixels are too small .* needs 5 a side",
        ),
        (lambda: Transformer(3, 1, 6, 1, heads=4), r"heads=4 does not divide width=6"),
        (lambda: Transformer(3, 1, 6, 1, heads=0), r"heads must be"),
        (lambda: Transformer(3, 1, 6, 1, scaling="none"), r"unknown scaling 'none'; choose one of sqrt, linear"),
        (lambda: Transformer(3, 1, 6, 1, patch_size=0), r"patch_size must be"),
        (lambda: Transformer(3, 1, 6, 1)(torch.zeros(2, 5, 4)), r"in_features=3 .* \(2, 5, 4\); it takes tokens"),
        (lambda: Transformer(3, 1, 6, 1, patch_size=4)(torch.zeros(2, 3, 8, 6)), r"\(8, 6\) pixels cannot be cut"),
        (lambda: ConvNet(1, 1, 4, 1)(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)), r"type torch.uint8; convert it"),
        (lambda: ng.MLP(3, 1, 4, 1)(torch.zeros(2, 3, dtype=torch.int64)), r"type torch.int64"),
        (
            lambda: ng.models.ShallowNet(3, 4)(torch.zeros(2, 4)),
            r"in_features=3 was given an input of shape \(2, 4\)",
        ),
    ],
)
def test_bad_networks_and_inputs_are_named(build, words):
    with pytest.raises(ModelError, match=words):
        build()
