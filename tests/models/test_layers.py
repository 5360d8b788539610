import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.models import Initialization, NTKConv2d, ScaledConv2d, ScaledLinear
from tests.kernels.infinite.apart import run_apart
from tests.tolerances import EXACT, SINGLE


def patches(x, kernel, stride, padding, circular):
    """[n, C·k₁·k₂, H', W'] by slicing the padded images, one offset at a time."""
    (k1, k2), (s1, s2), (p1, p2) = kernel, stride, padding
    h, w = x.shape[2:]
    rows = torch.arange(-p1, h + p1)
    columns = torch.arange(-p2, w + p2)
    padded = x[:, :, rows % h][:, :, :, columns % w]
    if not circular:
        inside = ((rows >= 0) & (rows < h))[:, None] & ((columns >= 0) & (columns < w))[None]
        padded = padded * inside
    high, wide = (len(rows) - k1) // s1 + 1, (len(columns) - k2) // s2 + 1
    offsets = [
        padded[:, :, i : i + s1 * (high - 1) + 1 : s1, j : j + s2 * (wide - 1) + 1 : s2]
        for i in range(k1)
        for j in range(k2)
    ]
    return torch.stack(offsets, 2).flatten(1, 2)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "mode"),
    [
        (3, 1, "same", "zeros"),
        (3, 1, "same", "circular"),
        (3, 2, 1, "zeros"),
        (3, 2, 1, "circular"),
        (2, (1, 2), 0, "zeros"),
        (1, 2, 0, "zeros"),
        (1, (1, 3), 0, "circular"),
        (1, 2, 1, "zeros"),
        ((1, 3), 1, (0, 2), "zeros"),
        ((3, 1), (2, 1), (2, 0), "circular"),
    ],
)
def test_ntk_conv_is_its_formula(kernel, stride, padding, mode, generator):
    layer = NTKConv2d(3, 5, kernel, stride, padding, mode, 1.7, 0.3, generator=generator).double()
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64, generator=generator)
    k, s = (v if isinstance(v, tuple) else (v, v) for v in (kernel, stride))
    p = (
        tuple(v // 2 for v in k)
        if padding == "same"
        else padding
        if isinstance(padding, tuple)
        else (padding,) * 2
    )
    seen = patches(x, k, s, p, mode == "circular")
    expected = torch.einsum("oc,nchw->nohw", layer.weight.flatten(1), seen) * 1.7 / math.sqrt(3 * math.prod(k))
    expected = expected + 0.3 * layer.bias[:, None, None]
    torch.testing.assert_close(layer(x), expected, rtol=EXACT, atol=EXACT)
    assert layer.initialization == Initialization(1.7 / math.sqrt(3 * math.prod(k)), 1.0, 0.3, 1.0)


def test_ntk_conv_starts_standard_normal_and_without_bias_unless_asked():
    layer = NTKConv2d(100, 100, 3, generator=torch.Generator().manual_seed(1))
    n = layer.weight.numel()
    assert abs(layer.weight.mean()) < 4 / math.sqrt(n)
    assert abs(layer.weight.var() - 1) < 4 * math.sqrt(2 / n)
    assert layer.bias is None
    assert layer.initialization.bias_scale == 0


def test_scaled_layers_compute_with_their_effective_weights(generator):
    start = Initialization(weight_scale=0.5, weight_std=2.0, bias_scale=3.0, bias_std=0.1)
    x = torch.randn(4, 3, 5, 5, generator=generator)
    conv = ScaledConv2d(3, 2, 3, start, bias=True, generator=generator)
    torch.testing.assert_close(conv(x), F.conv2d(x, 0.5 * conv.weight, 3 * conv.bias), rtol=SINGLE, atol=SINGLE)
    linear = ScaledLinear(5, 2, start, bias=True, generator=generator)
    torch.testing.assert_close(
        linear(x), F.linear(x, 0.5 * linear.weight, 3 * linear.bias), rtol=SINGLE, atol=SINGLE
    )


def test_initial_values_have_the_stated_spread_and_can_be_drawn_anew(generator):
    start = Initialization(weight_scale=0.5, weight_std=0.2, bias_scale=3.0, bias_std=0.7)
    layer = ScaledLinear(200, 2000, start, bias=True, generator=generator)
    for _ in range(2):
        assert layer.weight.std().item() == pytest.approx(0.2, rel=4 / math.sqrt(2 * 400_000))
        assert layer.bias.std().item() == pytest.approx(0.7, rel=4 / math.sqrt(2 * 2000))
        before = layer.weight.clone()
        layer.reset_parameters(generator)
        assert not torch.equal(layer.weight, before)


def test_the_seed_of_a_layer_is_its_generator():
    for build in (
        lambda g: ng.NTKLinear(3, 4, bias_std=1.0, generator=g),
        lambda g: NTKConv2d(3, 4, 2, generator=g),
    ):
        a, b = (build(torch.Generator().manual_seed(3)) for _ in range(2))
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_standard_layers_are_torch_layers(generator):
    model = ng.MLP(4, 2, 8, 1, parametrization="standard", bias=True, generator=generator)
    for layer in (m for m in model if isinstance(m, nn.Linear)):
        x = torch.randn(3, layer.in_features, generator=generator)
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: NTKConv2d(0, 1, 3), r"cin must be an integer of at least 1, got 0"),
        (lambda: NTKConv2d(1, 1.5, 3), r"cout must be"),
        (lambda: NTKConv2d(1, 1, 0), r"kernel_size must be an integer of at least 1 or a pair"),
        (lambda: NTKConv2d(1, 1, (3, 3, 3)), r"kernel_size must be"),
        (lambda: NTKConv2d(1, 1, True), r"kernel_size must be"),
        (lambda: NTKConv2d(1, 1, 3, stride=0), r"stride must be"),
        (lambda: NTKConv2d(1, 1, 3, padding=-1), r"padding must be an integer of at least 0"),
        (lambda: NTKConv2d(1, 1, 3, padding="valid"), r"unknown padding 'valid'"),
        (lambda: NTKConv2d(1, 1, 3, stride=2, padding="same"), r"padding='same' needs stride 1"),
        (
            lambda: NTKConv2d(1, 1, 3, padding_mode="loud"),
            r"unknown padding_mode 'loud'; choose one of zeros, circ",
        ),
        (lambda: NTKConv2d(1, 1, 3, weight_std=-1), r"weight_std must be"),
        (lambda: NTKConv2d(1, 1, 3, bias_std=math.inf), r"bias_std must be"),
    ],
)
def test_bad_layers_are_named(build, words):
    with pytest.raises(ModelError, match=words):
        build()


def compare_gradients():
    """Of narrow strided 1×1 convolutions and residual networks: float32 beside float64, pixels channels last."""
    for threads in (1, 2):
        torch.set_num_threads(threads)
        compare_with(threads)


def compare_with(threads):
    generator = torch.Generator().manual_seed(0)
    for channels in (1, 2, 4, 7, 8, 15):
        shortcut = NTKConv2d(channels, 2 * channels, 1, 2, generator=generator)
        # Smooth: rounding may put a ReLU on its other side.
        blocks = ng.WideResNet(3, 2, channels, 1, nonlinearity="erf", generator=generator)
        for network, cin in ((shortcut, channels), (blocks, 3)):
            x = torch.randn(24, cin, 32, 32, generator=generator).to(memory_format=torch.channels_last)
            found, exact = [], []
            for gradients, dtype in ((found, torch.float32), (exact, torch.float64)):
                network.to(dtype)
                loss = network(x.to(dtype)).square().mean()
                gradients += torch.autograd.grad(loss, tuple(network.parameters()))
            for single, double in zip(found, exact, strict=True):
                error = (single - double).norm() / double.norm()
                assert error < SINGLE, (threads, channels, type(network).__name__, float(error))


def test_gradients_of_narrow_shortcuts_are_right_and_spare_the_memory():
    run_apart(compare_gradients)  # in a process of its own: it used to die
