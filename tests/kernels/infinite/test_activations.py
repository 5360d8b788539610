import math
from functools import partial

import pytest
import torch

from ntkgap.kernels.infinite.activations import find_activation
from ntkgap.models import nonlinearities
from tests.kernels.infinite.activation_cases import (
    CASES,
    PAIRS,
    SMOOTH_ENOUGH,
    activation_mean,
    activation_of,
    numbers,
    pairs_of,
    slope_at_zero,
)
from tests.reference.gaussian import expectation
from tests.tolerances import EXACT, SINGLE

REACH = {"exp": 17.0}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("q1", "q2", "rho"), PAIRS)
def test_both_expectations_are_the_integrals(name, q1, q2, rho):
    """Within the reported error, relative to √(E[φ(u)²] E[φ(v)²]), which is zero for closed forms."""
    module, bends = CASES[name]
    activation = activation_of(name)
    found = activation.covariance(*numbers(rho * math.sqrt(q1 * q2), q1, q2), True)
    norms = [activation.variance(*numbers(q), True) for q in (q1, q2)]
    assert activation.closed_form == (activation.error == 0.0)
    if name in SMOOTH_ENOUGH:
        assert activation.error < 1e-8
    for slope in (False, True):
        expected = expectation(module, q1, q2, rho, bends, slope, reach=REACH.get(name, 9.5))
        scale = math.sqrt(norms[0][slope].item() * norms[1][slope].item())
        assert abs(found[slope].item() - expected) <= (activation.error + EXACT) * scale


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("q", [1e-3, 10.0])
def test_variances_are_the_integrals_and_the_diagonal(name, q):
    module, bends = CASES[name]
    activation = activation_of(name)
    variance = activation.variance(*numbers(q), True)
    diagonal = activation.covariance(*numbers(q, q, q), True)
    for slope in (False, True):
        expected = expectation(module, q, q, 1.0, bends, slope, reach=REACH.get(name, 9.5))
        assert variance[slope].item() == pytest.approx(expected, rel=EXACT)
        # ρ of the diagonal is 1 up to ε, and slopes of kinks move with √(1 − ρ).
        allowance = activation.error + 10 * math.sqrt(torch.finfo(torch.float64).eps)
        assert diagonal[slope].item() == pytest.approx(expected, rel=allowance)


@pytest.mark.parametrize("name", CASES)
def test_opposite_inputs(name):
    module, bends = CASES[name]
    activation = activation_of(name)
    found = activation.covariance(*numbers(-2.0, 2.0, 2.0), True)
    norm = activation.variance(*numbers(2.0), True)
    for slope in (False, True):
        expected = expectation(module, 2.0, 2.0, -1.0, bends, slope)
        allowance = activation.error + 10 * math.sqrt(torch.finfo(torch.float64).eps)
        assert abs(found[slope].item() - expected) <= allowance * norm[slope].item()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_zero_variance_is_the_number_zero(name, dtype):
    """φ(0) and torch's φ'(0), times the mean over the other input; gradients stay finite."""
    module, _ = CASES[name]
    activation = activation_of(name)
    c = torch.zeros(2, 2, dtype=dtype, requires_grad=True)
    q1 = torch.tensor([[0.0], [1.5]], dtype=dtype, requires_grad=True)
    q2 = torch.tensor([[0.0, 1.5]], dtype=dtype, requires_grad=True)
    product, slopes = activation.covariance(c, q1, q2, True)
    rounding = 10 * torch.finfo(dtype).eps + activation.error
    mean = torch.tensor([activation_mean(module, q, False) for q in (0.0, 1.5)])
    mean_slope = torch.tensor([activation_mean(module, q, True) for q in (0.0, 1.5)])
    for found, expected in ((product, mean[:, None] * mean), (slopes, mean_slope[:, None] * mean_slope)):
        torch.testing.assert_close(found.double(), expected.double(), rtol=SINGLE, atol=max(rounding, EXACT))
    variance, slope_variance = activation.variance(q1[:1], True)
    assert variance.item() == pytest.approx(mean[0].item() ** 2, rel=SINGLE, abs=1e-12)
    assert slope_variance.item() == pytest.approx(slope_at_zero(module) ** 2, rel=SINGLE, abs=1e-12)
    for gradient in torch.autograd.grad(product.sum() + slopes.sum(), (c, q1, q2), allow_unused=True):
        assert gradient is None or gradient.isfinite().all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "q"), [(torch.float32, 1e-20), (torch.float64, 1e-30)])
def test_tiny_variances_keep_their_relative_accuracy(name, dtype, q):
    """Near 0, φ(x) = φ(0) + φ'(0)x (its one-sided slopes for kinks): known covariances at ρ = ½."""
    module, bends = CASES[name]
    activation = activation_of(name)
    c, q1, q2 = (torch.tensor([v], dtype=dtype) for v in (q / 2, q, q))
    product, slopes = activation.covariance(c, q1, q2, True)
    variance, slope_variance = activation.variance(q1, True)
    tiny = math.sqrt(q)
    h = torch.tensor([-tiny, tiny], dtype=torch.float64)
    left, right = module(h).double().tolist()
    start = module(torch.zeros(1, dtype=torch.float64)).item()
    if start:
        assert product.item() == pytest.approx(start**2, rel=SINGLE)
        assert variance.item() == pytest.approx(start**2, rel=SINGLE)
    elif 0 in bends:
        a, b = -left / tiny, right / tiny
        expected = ((a**2 + b**2) / 2, (a - b) ** 2 / (2 * math.pi) * (math.sin(math.pi / 3) - math.pi / 6))
        assert variance.item() == pytest.approx(q * expected[0], rel=SINGLE)
        assert product.item() == pytest.approx(q * (expected[0] / 2 + expected[1]), rel=SINGLE)
    else:
        slope = (right - left) / (2 * tiny)
        for found, expected in ((variance, q * slope**2), (product, q * slope**2 / 2), (slopes, slope**2)):
            assert found.item() == pytest.approx(expected, rel=SINGLE, abs=q * EXACT)
    assert slopes.isfinite().all()
    assert slope_variance.isfinite().all()


BOUNDED_GROWTH = [n for n in CASES if n not in ("exp", "cube", "polynomial")]


@pytest.mark.parametrize("name", BOUNDED_GROWTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_variances_stay_finite_and_within_the_bound(name, dtype):
    activation = activation_of(name)
    q1, q2 = torch.tensor([[1e8], [2e8]], dtype=dtype), torch.tensor([[1e8, 1e-8]], dtype=dtype)
    rho = torch.tensor([[1.0, 0.5], [-0.5, -1.0]], dtype=dtype)
    for found, one, two in zip(
        activation.covariance(rho * q1.sqrt() * q2.sqrt(), q1, q2, True),
        activation.variance(q1, True),
        activation.variance(q2, True),
        strict=True,
    ):
        assert found.isfinite().all()
        slack = 1 + activation.error + 100 * torch.finfo(dtype).eps
        # Off ±1 the bound of Cauchy and Schwarz is far; at ±1 rounding of c alone moves smooth steps.
        assert (found[[0, 1], [1, 0]].abs() <= slack * (one * two).sqrt()[[0, 1], [1, 0]]).all()


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_the_derivatives(name, generator):
    activation = activation_of(name)
    inputs = [t.requires_grad_() for t in pairs_of(generator, n=2, m=3)]
    # uᵀJv for random u and v: two differences in place of two for every number of the inputs.
    gradcheck = partial(torch.autograd.gradcheck, fast_mode=True, atol=1e-6)
    assert gradcheck(lambda *t: activation.covariance(*t, True), inputs)
    assert gradcheck(lambda q: activation.variance(q, True), inputs[1:2])


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_finite_on_the_diagonal(name):
    activation = activation_of(name)
    q = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)
    c = torch.stack([q, -q]).requires_grad_()
    q1, q2 = (q.clone().requires_grad_() for _ in range(2))
    product, slopes = activation.covariance(c, q1, q2, True)
    for result in (r for r in (product, slopes) if r.requires_grad):
        for gradient in torch.autograd.grad(result.sum(), (c, q1, q2), retain_graph=True, allow_unused=True):
            assert gradient is None or gradient.isfinite().all()
    if name in ("relu", "gelu", "erf", "sin", "polynomial"):
        # By Price's theorem the derivative of the covariance is the product of the slopes.
        (by_c,) = torch.autograd.grad(product.sum(), c)
        torch.testing.assert_close(by_c, slopes.detach(), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("name", CASES)
def test_single_precision_is_double_precision_rounded(name, generator):
    activation = activation_of(name)
    double = activation.covariance(*(t.float().double() for t in pairs_of(generator)), True)
    generator.manual_seed(0)
    single = activation.covariance(*pairs_of(generator, torch.float32), True)
    for a, b in zip(single, double, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize("name", CASES)
def test_inputs_are_left_alone_and_rounding_beyond_the_bound_is_clamped(name):
    activation = activation_of(name)
    q = torch.tensor([1.0, 3.0, 1e-3], dtype=torch.float64)
    c = q * (1 + 1e-13)
    kept = c.clone()
    product, slopes = activation.covariance(c, q, q, True)
    variance, slope_variance = activation.variance(q, True)
    assert torch.equal(c, kept)
    rtol = activation.error + 1e-6  # slopes of kinks move by √(1 − ρ), which is rounding here
    torch.testing.assert_close(product, variance, rtol=rtol, atol=0)
    torch.testing.assert_close(slopes, slope_variance, rtol=rtol, atol=0)
    alone, nothing = activation.covariance(c, q, q, False)
    torch.testing.assert_close(alone, product, rtol=EXACT, atol=0)
    assert nothing is None
    assert activation.variance(q, False)[1] is None


@pytest.mark.parametrize("name", CASES)
def test_odd_means_odd(name):
    x = torch.linspace(-3, 3, 41, dtype=torch.float64)
    module = CASES[name][0]
    assert find_activation(module).odd == torch.allclose(module(x.clone()), -module(-x), rtol=0, atol=1e-14)


def test_the_rbf_module_has_the_gaussian_kernel(generator):
    c, q1, q2 = pairs_of(generator)
    product, _ = find_activation(nonlinearities.RBF(0.7)).covariance(c, q1, q2, False)
    torch.testing.assert_close(product, torch.exp(-0.7 * (q1 + q2 - 2 * c)), rtol=EXACT, atol=0)
