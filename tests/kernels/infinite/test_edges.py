"""Inputs at which formulas for pairs break: equal, opposite, zero, tiny, huge; and gradients there."""

from functools import partial

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.models import ConvNet, NTKLinear
from ntkgap.models.nonlinearities import Erf
from tests.tolerances import EXACT

# uᵀJv for random u and v: two differences in place of two for every number of the inputs.
gradcheck = partial(torch.autograd.gradcheck, fast_mode=True, atol=1e-6)


def network(phi=nn.ReLU, depth=3, bias_std=0.0):
    layers, fan_in = [], 6
    for _ in range(depth):
        layers += [NTKLinear(fan_in, 8, 2**0.5, bias_std), phi()]
        fan_in = 8
    return nn.Sequential(*layers, NTKLinear(8, 1, 2**0.5, bias_std))


@pytest.fixture
def x(generator):
    return torch.randn(5, 6, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("phi", [nn.ReLU, nn.GELU, Erf, nn.Tanh, nn.LeakyReLU])
def test_the_diagonal_is_exact_for_equal_inputs(x, phi):
    limit = ng.infinite_width(network(phi, bias_std=0.1))
    both = torch.cat([x, x])
    kernels = limit.kernels(both)
    for kernel in kernels:
        # The same pair at another place has its own rounding; off the exact diagonal slopes lose √ε.
        torch.testing.assert_close(kernel[:5, 5:].diagonal(), kernel[:5, :5].diagonal(), rtol=1e-7, atol=0)
    across = limit.kernels(x, x.clone())
    torch.testing.assert_close(across.nngp, limit.nngp(x), rtol=1e-7, atol=EXACT)


def test_relu_kernels_at_special_pairs(x):
    """With σ_w² = 2 and no bias Σ(x, x) = 2‖x‖²/d stays in every layer, and Θ(x, x) is that times the layers."""
    limit = ng.infinite_width(network())
    q = 2 * x.square().mean(1)
    kernels = limit.kernels(x)
    torch.testing.assert_close(kernels.nngp.diagonal(), q, rtol=EXACT, atol=0)
    torch.testing.assert_close(kernels.ntk.diagonal(), 4 * q, rtol=EXACT, atol=0)
    opposite = ng.infinite_width(network(depth=1)).kernels(x, -x, diagonal=True)
    assert opposite.nngp.abs().max() < EXACT  # one of the two is always 0 at a unit
    assert opposite.ntk.abs().max() < EXACT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-12, 1e12])
def test_zero_tiny_and_huge_inputs_scale_as_they_must(x, dtype, size):
    """ReLU networks without bias are homogeneous: K(s·x, s·x') = s²·K(x, x')."""
    limit = ng.infinite_width(network())
    scaled = torch.cat([x, size * x]).to(dtype)
    kernel = limit.ntk(scaled)
    assert torch.isfinite(kernel).all()
    expected = limit.ntk(x).to(dtype)
    tolerance = {"rtol": 1e-3 if dtype == torch.float32 else 1e-6, "atol": 0}
    if size:
        torch.testing.assert_close(kernel[5:, 5:] / size / size, expected, **tolerance)
        torch.testing.assert_close(kernel[:5, 5:] / size, expected, **tolerance)
    else:
        assert not kernel[5:].any()


@pytest.mark.parametrize("phi", [nn.ReLU, nn.GELU, Erf, nn.Softplus])
def test_gradients_with_respect_to_inputs(x, phi):
    limit = ng.infinite_width(network(phi, depth=2, bias_std=0.1))
    inputs = x[:3].clone().requires_grad_()
    others = x[2:].clone().requires_grad_()
    assert gradcheck(lambda a, b: limit.ntk(a, b[1:]), (inputs, others))
    assert gradcheck(lambda a: limit.nngp(a), (inputs,))


@pytest.mark.parametrize("phi", [nn.ReLU, nn.GELU, nn.Tanh])
def test_gradients_are_finite_where_inputs_meet(x, phi):
    limit = ng.infinite_width(network(phi, bias_std=0.0))
    inputs = torch.cat([x, x, -x, 0 * x]).requires_grad_()
    for kernel in limit.kernels(inputs):
        (gradient,) = torch.autograd.grad(kernel.sum(), inputs, retain_graph=True)
        assert torch.isfinite(gradient).all()


def test_gradients_through_convolutions_and_pooling(generator):
    limit = ng.infinite_width(ConvNet(2, 1, 8, 2, pooling="global_average", weight_std=1.4))
    images = torch.randn(2, 2, 4, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    others = torch.randn(1, 2, 4, 4, dtype=torch.float64, generator=generator)
    assert gradcheck(lambda a: limit.ntk(a, others), (images,))


def test_kernels_of_a_grid_are_positive_semidefinite(generator):
    x = torch.randn(40, 3, 6, 6, dtype=torch.float64, generator=generator)
    kernels = ng.infinite_width(ConvNet(3, 1, 8, 2, image_size=6, weight_std=1.4)).kernels(x)
    for kernel in kernels:
        assert ng.spectrum(kernel).lambda_min > -ng.spectrum(kernel).noise_floor


def test_without_nonlinearity_the_kernel_is_that_of_a_linear_model(x):
    """Σ = σ_w^(2L)·⟨x, x'⟩/d, and Θ adds one such term a layer."""
    linear = nn.Sequential(NTKLinear(6, 8, 1.5), NTKLinear(8, 8, 1.5), NTKLinear(8, 1, 1.5))
    kernels = ng.infinite_width(linear).kernels(x)
    torch.testing.assert_close(kernels.nngp, 1.5**6 * x @ x.T / 6, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(kernels.ntk, 3 * kernels.nngp, rtol=EXACT, atol=EXACT)


def test_the_same_function_in_two_parametrizations():
    """Σ is the same; Θ of the standard one holds each layer's share times its fan-in."""
    x = torch.randn(4, 6, dtype=torch.float64)
    ntk = ng.infinite_width(ng.MLP(6, 1, 32, 1, weight_std=1.4)).kernels(x)
    standard = ng.infinite_width(ng.MLP(6, 1, 32, 1, weight_std=1.4, parametrization="standard")).kernels(x)
    torch.testing.assert_close(ntk.nngp, standard.nngp, rtol=EXACT, atol=EXACT)
    # NTK: Θ = Σ (readout) + σ_w²Σ̇·Σ_1; standard: m·E[φφ'] + σ_w²Σ̇·d·⟨x, x'⟩/d.
    first = ntk.ntk - ntk.nngp
    expected = 32 * ntk.nngp / 1.4**2 + 6 * first / 1.4**2
    torch.testing.assert_close(standard.ntk, expected, rtol=EXACT, atol=EXACT)


def test_frozen_layers_leave_the_tangent_kernel(x):
    model = network(depth=1)
    whole = ng.infinite_width(model).kernels(x)
    model[2].requires_grad_(False)
    hidden = ng.infinite_width(model).ntk(x)
    torch.testing.assert_close(whole.ntk - hidden, whole.nngp, rtol=EXACT, atol=EXACT)
    model.requires_grad_(False)
    torch.testing.assert_close(ng.infinite_width(model).nngp(x), whole.nngp, rtol=0, atol=0)
    with pytest.raises(ng.NtkgapError, match=r"no parameter of the model is trained"):
        ng.infinite_width(model).ntk(x)


def test_tiles_in_threads_share_their_expansions():
    """More tiles than expansions are remembered: every thread finds its own, whatever the others drop."""
    x = torch.randn(100, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = network(nn.Tanh, depth=2)
    threads = torch.get_num_threads()
    kernels = []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            kernels.append(ng.infinite_width(model).ntk(x, memory_budget=500_000))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*kernels, rtol=EXACT, atol=EXACT)


def test_reported_error_of_quadrature():
    x = torch.randn(4, 6, dtype=torch.float64)
    closed = ng.infinite_width(network())
    closed.ntk(x)
    assert closed.error == 0.0
    numerical = ng.infinite_width(network(nn.Tanh))
    numerical.ntk(x)
    assert 0 < numerical.error < 1e-8
