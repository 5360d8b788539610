import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.activations import find_activation, is_elementwise, quadrature_of
from ntkgap.kernels.infinite.activations.kinks import find_kinks
from ntkgap.models import NONLINEARITIES, nonlinearities
from tests.reference.gaussian import expectation
from tests.tolerances import EXACT, SINGLE

# Every activation with the points where it or its slope is not smooth.
CASES = {
    "relu": (nn.ReLU(), [0]),
    "leaky_relu": (nn.LeakyReLU(0.2), [0]),
    "abs": (nonlinearities.Abs(), [0]),
    "erf": (nonlinearities.Erf(), []),
    "gelu": (nn.GELU(), []),
    "sin": (nonlinearities.Sin(1.2, 0.8, 0.4), []),
    "sine": (nonlinearities.Sin(), []),
    "cos": (nonlinearities.Cos(), []),
    "rbf": (nonlinearities.RBF(0.3), []),
    "exp": (nonlinearities.Exp(), []),
    "exp_square": (nonlinearities.ExpSquare(), []),
    "identity": (nn.Identity(), []),
    "cube": (nonlinearities.Monomial(3), []),
    "polynomial": (nonlinearities.Polynomial([0.3, -1.0, 0.5, 0.2]), []),
    "gelu_tanh": (nn.GELU("tanh"), []),
    "tanh": (nn.Tanh(), []),
    "silu": (nn.SiLU(), []),
    "softplus": (nn.Softplus(), []),
    "sigmoid": (nn.Sigmoid(), []),
    "mish": (nn.Mish(), []),
    "logsigmoid": (nn.LogSigmoid(), []),
    "tanhshrink": (nn.Tanhshrink(), []),
    "elu": (nn.ELU(), [0]),
    "selu": (nn.SELU(), [0]),
    "celu": (nn.CELU(2.0), [0]),
    "softsign": (nn.Softsign(), [0]),
    "hardtanh": (nn.Hardtanh(), [-1, 1]),
    "relu6": (nn.ReLU6(), [0, 6]),
    "hardswish": (nn.Hardswish(), [-3, 3]),
    "hardsigmoid": (nn.Hardsigmoid(), [-3, 3]),
    "softshrink": (nn.Softshrink(), [-0.5, 0.5]),
}
CLOSED = [name for name in CASES if find_activation(CASES[name][0]).closed_form]
SMOOTH_ENOUGH = ["tanh", "silu", "softplus", "elu", "sigmoid", "mish", "gelu_tanh"]
PAIRS = [(0.5, 2.0, 0.3), (1.0, 1.0, -0.7), (9.0, 3.0, 0.97), (1.0, 1.3, 0.9999), (2.0, 2.0, -0.9995)]


def numbers(*values):
    return tuple(torch.tensor([v], dtype=torch.float64) for v in values)


def slope_at_zero(module):
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(module(x.clone()).sum(), x)[0].item()


def pairs_of(generator, dtype=torch.float64, n=5, m=7, top=0.9):
    q1 = 0.5 + torch.rand(n, 1, generator=generator, dtype=torch.float64)
    q2 = 0.5 + torch.rand(1, m, generator=generator, dtype=torch.float64)
    rho = top * (2 * torch.rand(n, m, generator=generator, dtype=torch.float64) - 1)
    return tuple(t.to(dtype) for t in (rho * (q1 * q2).sqrt(), q1, q2))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("q1", "q2", "rho"), PAIRS)
def test_both_expectations_are_the_integrals(name, q1, q2, rho):
    """Within the reported error, relative to √(E[φ(u)²] E[φ(v)²]), which is zero for closed forms."""
    module, bends = CASES[name]
    activation = find_activation(module)
    found = activation.covariance(*numbers(rho * math.sqrt(q1 * q2), q1, q2), True)
    norms = [activation.variance(*numbers(q), True) for q in (q1, q2)]
    assert activation.closed_form == (activation.error == 0.0)
    if name in SMOOTH_ENOUGH:
        assert activation.error < 1e-8
    for slope in (False, True):
        expected = expectation(module, q1, q2, rho, bends, slope)
        scale = math.sqrt(norms[0][slope].item() * norms[1][slope].item())
        assert abs(found[slope].item() - expected) <= (activation.error + EXACT) * scale


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("q", [1e-3, 1.0, 10.0])
def test_variances_are_the_integrals_and_the_diagonal(name, q):
    module, bends = CASES[name]
    activation = find_activation(module)
    variance = activation.variance(*numbers(q), True)
    diagonal = activation.covariance(*numbers(q, q, q), True)
    for slope in (False, True):
        expected = expectation(module, q, q, 1.0, bends, slope)
        assert variance[slope].item() == pytest.approx(expected, rel=EXACT)
        # ρ of the diagonal is 1 up to ε, and slopes of kinks move with √(1 − ρ).
        allowance = activation.error + 10 * math.sqrt(torch.finfo(torch.float64).eps)
        assert diagonal[slope].item() == pytest.approx(expected, rel=allowance)


@pytest.mark.parametrize("name", CASES)
def test_opposite_inputs(name):
    module, bends = CASES[name]
    activation = find_activation(module)
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
    activation = find_activation(module)
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


def activation_mean(module, q, slope):
    """E[φ(u)] or E[φ'(u)], for a u of variance q."""
    if q == 0:
        return slope_at_zero(module) if slope else module(torch.zeros(1, dtype=torch.float64)).item()
    x = torch.linspace(-9, 9, 200000, dtype=torch.float64)
    z = (math.sqrt(q) * x).requires_grad_()
    y = module(z.clone())
    y = torch.autograd.grad(y.sum(), z)[0] if slope else y
    return float(torch.trapezoid(y.detach() * torch.exp(-x.square() / 2), x)) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "q"), [(torch.float32, 1e-20), (torch.float64, 1e-30)])
def test_tiny_variances_keep_their_relative_accuracy(name, dtype, q):
    """Near 0, φ(x) = φ(0) + φ'(0)x (its one-sided slopes for kinks): known covariances at ρ = ½."""
    module, bends = CASES[name]
    activation = find_activation(module)
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
    activation = find_activation(CASES[name][0])
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
    activation = find_activation(CASES[name][0])
    inputs = [t.requires_grad_() for t in pairs_of(generator, n=2, m=3)]
    assert torch.autograd.gradcheck(lambda *t: activation.covariance(*t, True), inputs, atol=1e-6)
    assert torch.autograd.gradcheck(lambda q: activation.variance(q, True), inputs[1:2], atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_finite_on_the_diagonal(name):
    activation = find_activation(CASES[name][0])
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
    activation = find_activation(CASES[name][0])
    double = activation.covariance(*(t.float().double() for t in pairs_of(generator)), True)
    generator.manual_seed(0)
    single = activation.covariance(*pairs_of(generator, torch.float32), True)
    for a, b in zip(single, double, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize("name", CASES)
def test_inputs_are_left_alone_and_rounding_beyond_the_bound_is_clamped(name):
    activation = find_activation(CASES[name][0])
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


@pytest.mark.parametrize("name", sorted(NONLINEARITIES))
def test_every_nonlinearity_of_the_models_is_found(name):
    activation = find_activation(NONLINEARITIES[name]())
    assert activation.closed_form or name in ("tanh", "silu", "softplus", "sigmoid", "elu", "selu")


@pytest.mark.parametrize(
    ("call", "module"),
    [
        (("relu_",), nn.ReLU()),
        ((torch.relu,), nn.ReLU()),
        ((torch.Tensor.relu,), nn.ReLU()),
        ((F.relu,), nn.ReLU()),
        ((F.leaky_relu, 0.3), nn.LeakyReLU(0.3)),
        ((F.gelu,), nn.GELU()),
        ((torch.abs,), nonlinearities.Abs()),
        ((torch.Tensor.__abs__,), nonlinearities.Abs()),
        ((abs,), nonlinearities.Abs()),
        ((torch.pow, 3), nonlinearities.Monomial(3)),
        ((torch.Tensor.__pow__, 2), nonlinearities.Monomial(2)),
        (("pow", 1), nn.Identity()),
        (("square",), nonlinearities.Monomial(2)),
        (("cos",), nonlinearities.Cos()),
        (("exp",), nonlinearities.Exp()),
        ((torch.special.expit,), nn.Sigmoid()),
        ((F.elu, 0.7), nn.ELU(0.7)),
        ((F.hardtanh, -2.0, 1.0), nn.Hardtanh(-2.0, 1.0)),
        ((F.silu,), nn.SiLU()),
        ((torch.tanh,), nn.Tanh()),
    ],
)
def test_functions_and_methods_are_what_the_modules_are(call, module, generator):
    pairs = pairs_of(generator, n=2, m=2)
    found = find_activation(*call).covariance(*pairs, True)
    expected = find_activation(module).covariance(*pairs, True)
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=0)


def test_options_are_heeded_by_name():
    assert find_activation(F.gelu, approximate="tanh").name == "gelu(tanh)"
    assert find_activation(F.leaky_relu, negative_slope=0.5, inplace=True).negative == 0.5


def test_what_is_not_an_activation_is_not_found():
    class Own(nn.ReLU):
        pass

    unknown = [
        nn.PReLU(),
        nn.Linear(2, 2),
        Own(),
        nn.RReLU(),
        nn.Softmax(1),
        torch.add,
        "matmul",
        lambda x: x,
        [].append,
    ]
    assert all(find_activation(thing) is None for thing in unknown)
    assert find_activation("pow", -1) is None
    assert find_activation("pow", 0.5) is None
    assert find_activation(torch.pow, torch.ones(2)) is None
    assert find_activation(torch.relu, 1, 2, 3) is None
    assert find_activation(nn.RReLU().eval()).negative == pytest.approx((1 / 8 + 1 / 3) / 2)


@pytest.mark.parametrize("name", CLOSED)
def test_quadrature_of_a_known_function_is_its_closed_form(name, generator):
    module = CASES[name][0]
    numerical = quadrature_of(module, "mine")
    pairs = pairs_of(generator, top=1.0)
    found, expected = (a.covariance(*pairs, True) for a in (numerical, find_activation(module)))
    assert 0 < numerical.error < 1e-6
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=numerical.error + EXACT, atol=numerical.error + EXACT)


def test_kinks_are_found_where_they_are():
    assert find_kinks(nn.Tanh()) == ()
    assert [(k.position, k.jumps[0]) for k in find_kinks(nn.Hardtanh(-2, 0.5))] == [(-2.0, 1.0), (0.5, -1.0)]
    (elu,) = find_kinks(nn.ELU())
    assert elu.position == 0
    assert elu.jumps == pytest.approx((0, -1, -1, -1), abs=1e-9)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x + torch.rand_like(x), "mine is random"),
        (lambda x: x.sum(), "does not act on every entry"),
        (torch.log, r"mine is not finite at x = "),
    ],
)
def test_functions_without_expectations_are_named(function, words):
    with pytest.raises(KernelError, match=words):
        quadrature_of(function, "mine")


def test_overflow_is_named():
    large = torch.tensor([1e8], dtype=torch.float64)
    for activation in (quadrature_of(torch.exp, "mine"), find_activation("exp"), find_activation("pow", 30)):
        with pytest.raises(KernelError, match=r"mine is not finite|exp of|x\^30 of"):
            activation.covariance(large, large, large, True)


class Centred(nn.Module):
    def forward(self, x):
        return x - x.mean()


class Broken(nn.Module):
    def forward(self, x):
        raise SystemError("no")


@pytest.mark.parametrize("module", [m for m, _ in CASES.values()] + [nn.ReLU(inplace=True), nn.Dropout().eval()])
def test_elementwise_modules_are_told_by_evaluation(module):
    assert is_elementwise(module)


@pytest.mark.parametrize(
    "module",
    [
        nn.Softmax(-1),
        nn.Dropout(),
        nn.Flatten(),
        nn.PReLU(),
        nn.LayerNorm(4, elementwise_affine=False),
        nn.BatchNorm1d(4, affine=False, track_running_stats=False),
        nn.AvgPool1d(2),
        Centred(),
        Broken(),
    ],
)
def test_other_modules_are_not(module):
    assert not is_elementwise(module)
