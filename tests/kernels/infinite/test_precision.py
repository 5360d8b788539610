"""float32 inputs get kernels exact to float32, nearly parallel ones too; what a type cannot hold is refused."""

from functools import cache

import mpmath
import pytest
import torch
from mpmath import mp
from torch import nn

import ntkgap as ng
from ntkgap.errors import KernelError
from ntkgap.models import ConvNet, NTKLinear
from ntkgap.models.nonlinearities import Abs, Cos, Erf, Sin
from tests.kernels.infinite.activation_cases import CASES, CLOSED
from tests.tolerances import EXACT, ROUNDED

STD, BIAS = 1.4, 0.1


def network(phi, depth, std=STD, bias_std=BIAS):
    layers, fan_in = [], 6
    for _ in range(depth):
        layers += [NTKLinear(fan_in, 8, std, bias_std), phi]
        fan_in = 8
    return nn.Sequential(*layers, NTKLinear(8, 1, std, bias_std))


@cache
def inputs():
    """Points on a line, and clusters of nearly equal and of nearly opposite ones."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 6, generator=generator)
    noise = 1e-4 * torch.randn(8, 6, generator=generator)
    return torch.cat([torch.linspace(-1, 1, 30)[:, None] * a + b, b + noise, -b + noise])


def largest_error(found, expected):
    """Relative to √(K(x, x) K(x', x'))."""
    size = expected.diagonal().sqrt()
    return float(((found.double() - expected).abs() / (size[:, None] * size)).max())


def rectifier(a, b):
    def expectations(q, p, c):
        angle = mpmath.acos(min(mpmath.mpf(1), max(mpmath.mpf(-1), c / mpmath.sqrt(q * p))))
        slope = (a * a + b * b) / mpmath.mpf(2) - (a - b) ** 2 * angle / (2 * mp.pi)
        return (a - b) ** 2 * mpmath.sqrt(max(0, q * p - c * c)) / (2 * mp.pi) + slope * c, slope

    return expectations


def error_function(q, p, c):
    s = mpmath.sqrt((1 + 2 * q) * (1 + 2 * p) - 4 * c * c)
    return 2 / mp.pi * mpmath.atan2(2 * c, s), 4 / (mp.pi * s)


def gelu(q, p, c):
    d = mpmath.sqrt((1 + q) * (1 + p) - c * c)
    angle = mpmath.atan2(c, d)
    product = ((c * c + q * p * d * d) / ((1 + q) * (1 + p) * d) + c * angle) / (2 * mp.pi) + c / 4
    inside = 1 / d**2 + (1 - q * p) / ((1 + q) * (1 + p)) + 1
    return product, mpmath.mpf(1) / 4 + angle / (2 * mp.pi) + c / (2 * mp.pi * d) * inside


def sine(sign):
    def expectations(q, p, c):
        plus, minus = mpmath.exp(c - (q + p) / 2), mpmath.exp(-c - (q + p) / 2)
        return (plus - sign * minus) / 2, (plus + sign * minus) / 2

    return expectations


FORMULAS = {
    "relu": (nn.ReLU(), rectifier(0, 1)),
    "leaky relu": (nn.LeakyReLU(0.25), rectifier(mpmath.mpf(1) / 4, 1)),
    "abs": (Abs(), rectifier(-1, 1)),
    "erf": (Erf(), error_function),
    "gelu": (nn.GELU(), gelu),
    "sin": (Sin(), sine(1)),
    "cos": (Cos(), sine(-1)),
}


def in_fifty_digits(x, y, depth, expectations):
    """Σ and Θ of (x, x), (y, y) and (x, y) by the textbook's recursion, from the numbers that the inputs are."""
    gain, shift = (mpmath.mpf(v) ** 2 for v in (STD, BIAS))
    x, y = ([mpmath.mpf(v) for v in z.tolist()] for z in (x, y))
    sigma = [gain * mpmath.fdot(a, b) / len(x) + shift for a, b in ((x, x), (y, y), (x, y))]
    theta = list(sigma)
    for _ in range(depth):
        q, p, _ = sigma
        both = [expectations(*args) for args in ((q, q, q), (p, p, p), (q, p, sigma[2]))]
        sigma = [gain * product + shift for product, _ in both]
        theta = [s + gain * t * slope for s, t, (_, slope) in zip(sigma, theta, both, strict=True)]
    return sigma, theta


@pytest.mark.parametrize("depth", [1, 4, 20])
@pytest.mark.parametrize("name", FORMULAS)
def test_single_precision_against_fifty_digits(name, depth):
    phi, expectations = FORMULAS[name]
    x = inputs()
    kernels = ng.infinite_width(network(phi, depth)).kernels(x)
    assert kernels.ntk.dtype == torch.float32
    with mpmath.workdps(50):
        for i, j in ((0, 1), (14, 15), (3, 29), (30, 37), (30, 38), (31, 45)):
            for kernel, (q, p, c) in zip(kernels, in_fifty_digits(x[i], x[j], depth, expectations), strict=True):
                assert abs(kernel[i, j].item() - c) <= ROUNDED * mpmath.sqrt(q * p)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8, 12, 20])
@pytest.mark.parametrize("name", CLOSED)
def test_single_precision_is_double_precision_rounded_at_any_depth(name, depth):
    # The variances of some leave the range of numbers within a few layers.
    depth = min(depth, {"exp": 1, "cube": 2, "polynomial": 3}.get(name, depth))
    limit = ng.infinite_width(network(CASES[name][0], depth))
    for found, expected in zip(limit.kernels(inputs()), limit.kernels(inputs().double()), strict=True):
        assert found.dtype == torch.float32
        assert largest_error(found, expected) <= ROUNDED


@pytest.mark.parametrize("name", ["tanh", "elu", "hardtanh"])
def test_the_same_by_quadrature(name):
    limit, x = ng.infinite_width(network(CASES[name][0], 3)), inputs()[::2]
    for found, expected in zip(limit.kernels(x), limit.kernels(x.double()), strict=True):
        assert largest_error(found, expected) <= ROUNDED + 3 * limit.error


def test_images_and_second_inputs(generator):
    limit = ng.infinite_width(ConvNet(2, 1, 8, 4, weight_std=2**0.5))
    x = torch.randn(6, 2, 5, 5, generator=generator)
    x[3:] = x[:3] + 1e-4 * torch.randn(3, 2, 5, 5, generator=generator)
    exact = limit.kernels(x.double())
    for found, expected in zip(limit.kernels(x), exact, strict=True):
        assert largest_error(found, expected) <= ROUNDED
    for found, across, expected in zip(limit.kernels(x), limit.kernels(x, x.clone()), exact, strict=True):
        torch.testing.assert_close(across, found, rtol=10 * ROUNDED, atol=0)
        assert torch.equal(found, found.T)
        assert expected.dtype == torch.float64


def test_the_type_of_the_result_is_asked_for_or_that_of_the_inputs():
    limit, x = ng.infinite_width(network(nn.ReLU(), 2)), inputs()
    assert limit.ntk(x, dtype=torch.float64).dtype == torch.float64
    assert torch.equal(limit.ntk(x, dtype=torch.float64), limit.ntk(x.double()))
    assert torch.equal(limit.ntk(x.double(), dtype=torch.float32), limit.ntk(x))
    whole = torch.randint(-3, 3, (4, 6))
    assert torch.equal(limit.ntk(whole), limit.ntk(whole.float()))


HOMOGENEOUS = network(nn.ReLU(), 2, std=2**0.5, bias_std=0.0)


@pytest.mark.parametrize("size", [1e-20, 1e-25, 1e-30, 1e-40])
def test_what_would_be_zero_in_float32_is_refused(size):
    limit, x = ng.infinite_width(HOMOGENEOUS), inputs().double()
    exact = limit.ntk(size * x)
    torch.testing.assert_close(exact / size**2, limit.ntk(x), rtol=1e-7, atol=0)
    for call in (limit.ntk, limit.nngp):
        for given in ((size * x,), (size * x, x * size), (torch.cat([x, size * x]),)):
            with pytest.raises(KernelError, match=r"underflow in torch.float32.*pass dtype=torch.float64"):
                call(*given, dtype=torch.float32)
    with pytest.raises(KernelError, match=r"underflow"):
        limit.ntk((size * x).float(), diagonal=True)


def test_true_zeros_are_zeros_and_small_times_large_is_neither():
    limit, x = ng.infinite_width(HOMOGENEOUS), inputs().clone()
    x[3] = 0
    kernel = limit.ntk(x)
    assert not kernel[3].any()
    assert torch.equal(kernel == 0, (torch.arange(len(x)) == 3) | (torch.arange(len(x)) == 3)[:, None])
    assert not limit.ntk(x, x[3:4]).any()
    small, large = 1e-25 * x.double(), 1e25 * x.double()
    torch.testing.assert_close(
        limit.ntk(small, large, dtype=torch.float32), limit.ntk(x, x.clone()), rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("size", [1e-155, 1e-170, 1e-300])
def test_what_would_be_zero_in_float64_is_refused(size):
    x = size * inputs().double()
    with pytest.raises(KernelError, match=r"underflow.*scale the inputs"):
        ng.infinite_width(HOMOGENEOUS).ntk(x)
    x[0] = 1.0  # one of them is enough
    with pytest.raises(KernelError, match=r"underflow"):
        ng.infinite_width(HOMOGENEOUS).ntk(x)


def test_overflow_is_refused_in_either_type():
    limit, x = ng.infinite_width(HOMOGENEOUS), inputs().double()
    with pytest.raises(KernelError, match=r"overflows in torch.float32; pass dtype=torch.float64"):
        limit.ntk(1e25 * x, dtype=torch.float32)
    assert limit.ntk(1e25 * x).isfinite().all()
    with pytest.raises(KernelError, match=r"overflow"):
        limit.ntk(1e160 * x)


def test_small_kernels_of_networks_with_biases_are_no_underflow():
    limit = ng.infinite_width(network(nn.ReLU(), 2))
    torch.testing.assert_close(limit.ntk(1e-30 * inputs()), limit.ntk(0 * inputs()), rtol=EXACT, atol=0)
