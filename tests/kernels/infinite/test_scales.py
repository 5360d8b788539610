"""Trained factors of residual branches: a factor a channel, and one for all channels that starts at zero."""

import pytest
import torch
from torch import Tensor, nn

import ntkgap as ng
from ntkgap.errors import AccuracyWarning, ModelError
from ntkgap.models import NTKConv2d, NTKLinear
from tests.kernels.infinite.finite_networks import assert_converges
from tests.kernels.infinite.reference import Points
from tests.tolerances import EXACT

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(4, 3, 5, dtype=torch.float64, generator=GENERATOR)  # three positions of five features
IMAGES = torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=GENERATOR)


class Residual(nn.Module):
    """h + factor · branch(h) at every position, then what is given, a mean and a readout."""

    def __init__(self, factor: Tensor, after: nn.Module | None = None, width: int = 8, outputs: int = 4) -> None:
        super().__init__()
        self.first, self.inner = NTKLinear(5, width, 1.3, 0.3), NTKLinear(width, width, 1.4)
        self.branch, self.out = NTKLinear(width, width, 1.2, 0.2), NTKLinear(width, outputs)
        self.factor = nn.Parameter(factor)
        self.after = nn.Identity() if after is None else after

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h + self.factor * self.branch(torch.relu(self.inner(h)))
        return self.out(self.after(h).mean(1))


def parts() -> tuple[Points, Points]:
    h = Points.of(X).layer(1.3**2, 0.3**2)
    return h, h.layer(1.4**2).relu().layer(1.2**2, 0.2**2)


def scaled(branch: Points, factor: float, learned: Tensor) -> Points:
    return Points(factor**2 * branch.nngp, factor**2 * branch.ntk + learned, branch.n)


def assert_same(model: nn.Module, expected: Points) -> None:
    found = ng.infinite_width(model.double()).kernels(X)
    torch.testing.assert_close(found.nngp, expected.nngp, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(found.ntk, expected.ntk, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("factor", [0.3, 0.0, 1.0])
def test_a_factor_for_every_channel_adds_the_covariance_of_the_branch(factor):
    h, branch = parts()
    together = h.plus(scaled(branch, factor, branch.nngp))
    assert_same(Residual(torch.full((8,), factor, dtype=torch.float64)), together.mean().layer(1.0))
    same_position = torch.eye(3, dtype=torch.float64).repeat(4, 4)
    own = h.plus(scaled(branch, factor, same_position * branch.nngp))
    assert_same(Residual(torch.full((1, 3, 8), factor, dtype=torch.float64)), own.mean().layer(1.0))


def test_frozen_factors_are_numbers():
    h, branch = parts()
    expected = h.plus(scaled(branch, 0.3, 0 * branch.nngp)).mean().layer(1.0)
    for factor in (torch.full((), 0.3, dtype=torch.float64), torch.full((1, 1), 0.3, dtype=torch.float64)):
        model = Residual(factor)
        model.factor.requires_grad_(False)
        assert_same(model, expected)


def test_at_zero_a_nonlinearity_may_follow():
    h, branch = parts()
    expected = h.plus(scaled(branch, 0.0, branch.nngp)).relu().mean().layer(1.0)
    assert_same(Residual(torch.zeros(8), nn.ReLU()), expected)
    with pytest.warns(AccuracyWarning, match=r"'factor' is one trained number .* its expectation"):
        assert_same(Residual(torch.zeros(()), nn.ReLU()), expected)


class Block(nn.Module):
    """What follows a LayerScale in a transformer: a normalization with trained scales, and a layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(width), NTKLinear(width, width, 1.4)

    def forward(self, h: Tensor) -> Tensor:
        return torch.relu(self.layer(self.norm(h)))


class Images(nn.Module):
    """A factor a channel behind a convolution, at zero, and a nonlinearity on the sum (as zero-init residuals)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.branch = NTKConv2d(2, width, 3, padding=1), NTKConv2d(width, width, 3, padding=1)
        self.factor, self.out = nn.Parameter(torch.zeros(width, 1, 1)), NTKLinear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h + self.branch(torch.relu(h)) * self.factor
        return self.out(torch.relu(h).mean((2, 3)))


def test_finite_networks_converge_to_the_limit():
    assert_converges(lambda width: Residual(torch.full((width,), 0.5), Block(width), width), X, 32)
    assert_converges(Images, IMAGES, 16, largest=0.15)


def test_one_factor_for_all_channels_has_the_right_mean_and_stays_random():
    """∂f/∂r of every output is a Gaussian number: √(2/C) is the spread of its square's mean over C outputs."""
    outputs, draws = 40, 50

    def build(width):
        model = Residual(torch.zeros(()), Block(width), width, outputs).double().requires_grad_(False)
        model.factor.requires_grad_(True)
        return model

    with pytest.warns(AccuracyWarning):
        limit = ng.infinite_width(build(8)).ntk(X)
    for width in (32, 128):
        found = ng.kernels.monte_carlo_kernel(lambda w=width: build(w), X, draws=draws, seed=1)
        assert (found.ntk - limit).norm() < 4 * found.ntk_error.norm()
        spread = found.ntk_error.diagonal() * draws**0.5 / limit.diagonal()
        assert (spread > 0.8 * (2 / outputs) ** 0.5).all()  # where means over the width would fall to a half


REFUSED = {
    "a number that is not zero": (torch.tensor(0.5), None, r"'factor' = 0.5: one number for all channels changes"),
    "different entries": (torch.arange(8.0), None, r"'factor', whose entries differ"),
    "shared by channels": (torch.full((3, 1), 0.5), None, r"of shape \(3, 1\), which some channels"),
    "a nonlinearity behind it": (torch.full((8,), 0.5), nn.ReLU(), r"holds the trained scales"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_recursion_is_refused(name):
    factor, after, words = REFUSED[name]
    with pytest.raises(ModelError, match=words):
        ng.infinite_width(Residual(factor, after).double()).ntk(X)


def test_functions_of_factors_and_second_uses_are_refused():
    model = Residual(torch.zeros(())).double()
    model.forward = lambda x: model.out(model.first(x).mean(1) * torch.tanh(model.factor))
    with pytest.raises(ModelError, match=r"by a function of parameters"):
        ng.infinite_width(model).ntk(X)
    model.forward = lambda x: model.out((model.first(x) * model.factor + model.factor * model.first(x)).mean(1))
    with pytest.raises(ModelError, match=r"a second time"):
        ng.infinite_width(model).ntk(X)


def test_a_constant_added_to_a_signal_without_positions():
    """f(x) = b(2 a(x) + 1) has Σ = 4 x·x'/d + 1, and Θ = Σ + 4 x·x'/d."""

    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = NTKLinear(6, 8), NTKLinear(8, 1)

        def forward(self, x):
            return self.b(2 * self.a(x) + 1)

    x = torch.randn(5, 6, dtype=torch.float64)
    inner, limit = 4 * x @ x.T / 6, ng.infinite_width(Shifted().double())
    torch.testing.assert_close(limit.nngp(x), inner + 1, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(limit.ntk(x), 2 * inner + 1, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(limit.nngp(x, diagonal=True), inner.diagonal() + 1, rtol=EXACT, atol=EXACT)
