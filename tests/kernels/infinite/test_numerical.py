import math

import pytest
import torch
from torch import nn

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.activations import find_activation, quadrature_of
from ntkgap.kernels.infinite.activations.kinks import find_kinks
from tests.kernels.infinite.activation_cases import (
    CASES,
    CLOSED,
    PAIRS,
    activation_of,
    numbers,
    pairs_of,
)
from tests.reference.gaussian import expectation
from tests.tolerances import EXACT


@pytest.mark.parametrize("name", CLOSED)
def test_quadrature_of_a_known_function_is_its_closed_form(name, generator):
    module = CASES[name][0]
    numerical = quadrature_of(module, "mine")
    pairs = pairs_of(generator, top=1.0)
    found, expected = (a.covariance(*pairs, True) for a in (numerical, find_activation(module)))
    assert 0 < numerical.error < 1e-6
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=numerical.error + EXACT, atol=numerical.error + EXACT)


@pytest.mark.parametrize("name", ["tanh", "elu", "hardtanh", "hardswish", "relu6", "softsign", "softshrink"])
def test_many_pairs_at_once_are_each_their_own_integral(name, generator):
    """Mixed variances, among them zero, and correlations from 0 to 1 in one call, summed in different ways."""
    module, bends = CASES[name]
    activation = activation_of(name)
    q1 = torch.tensor([[0.0], [0.4], [1.0], [3.0]], dtype=torch.float64)
    q2 = torch.tensor([[0.0, 0.4, 1.1, 5.0]], dtype=torch.float64)
    rho = torch.tensor([0.3, -0.94, 0.96, 1.0], dtype=torch.float64)[torch.randperm(4, generator=generator)]
    rho = torch.stack([rho.roll(i) for i in range(4)])
    together = activation.covariance(rho * (q1 * q2).sqrt(), q1, q2, True)
    assert activation.error < 1e-5
    for i in range(1, 4):
        for j in range(1, 4):
            for slope in (False, True):
                q, p, r = q1[i, 0].item(), q2[0, j].item(), rho[i, j].item()
                expected = expectation(module, q, p, r, bends, slope)
                norm = math.sqrt(
                    activation.variance(q1[i], True)[slope].item()
                    * activation.variance(q2[0, j : j + 1], True)[slope].item()
                )
                # With ρ = 1 up to ε, slopes of kinks move by √ε.
                rounding = 1e-7 if r == 1 else EXACT
                assert abs(together[slope][i, j].item() - expected) <= (activation.error + rounding) * norm


def test_a_function_of_ones_own_with_kinks(generator):
    def own(x):
        return torch.where(x > 0.3, 2 * x.sin(), 0.6 * (x - 0.3) + 2 * math.sin(0.3)) + (x + 1.1).abs() * x

    activation = quadrature_of(own, "own")
    for q1, q2, rho in PAIRS:
        found = activation.covariance(*numbers(rho * math.sqrt(q1 * q2), q1, q2), True)
        for slope in (False, True):
            norm = math.sqrt(math.prod(activation.variance(*numbers(q), True)[slope].item() for q in (q1, q2)))
            expected = expectation(own, q1, q2, rho, [0.3, -1.1], slope)
            assert abs(found[slope].item() - expected) <= (activation.error + EXACT) * norm
    assert activation.error < 1e-4


def test_a_row_of_zeros_does_not_lengthen_the_series():
    activation = find_activation(nn.Tanh())
    pairs = activation._pairs(
        torch.full((2, 2), 0.5, dtype=torch.float64),
        *numbers(1.0),
        torch.tensor([[0.0, 1.0]]).double(),
        slope=True,
        tracked=False,
        aim=1e-12,
    )
    assert pairs.orders <= 64


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
