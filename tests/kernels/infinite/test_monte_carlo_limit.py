"""Limits by Monte Carlo from two widths: right where the limit is known, and doubted where there is none."""

import pytest
import torch
from torch import Tensor, nn

import ntkgap as ng
from ntkgap.errors import AccuracyWarning, DataError, KernelError, ModelError
from ntkgap.kernels.infinite.readout import covariance_of
from ntkgap.kernels.infinite.two_widths import extrapolate
from ntkgap.models import NTKConv2d, NTKLinear, Transformer
from ntkgap.models.nonlinearities import Erf
from tests.tolerances import EXACT

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(4, 6, dtype=torch.float64, generator=GENERATOR)
IMAGES = torch.randn(3, 2, 6, 6, dtype=torch.float64, generator=GENERATOR)


def mlp(depth: int, outputs: int = 8):
    return lambda width: ng.MLP(6, outputs, width, depth, weight_std=2**0.5, bias_std=0.1).double()


def pooled(width: int) -> nn.Module:
    layers = [NTKConv2d(2, width, 3, weight_std=1.4), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), NTKLinear(4 * width, 6)).double()


def attention(width: int) -> nn.Module:
    return Transformer(5, 6, width, 1, heads=4, scaling="sqrt").double()


def within(found: Tensor, error: Tensor, expected: Tensor, errors: float = 4.0) -> bool:
    return bool((found - expected).norm() <= errors * error.norm())


def test_known_limits_are_met_within_the_errors():
    build = mlp(2)
    estimate = ng.infinite_width_monte_carlo(build, width=128, draws=24, seed=1)
    found, limit = estimate.kernels(X), ng.infinite_width(build(8)).kernels(X)
    assert within(found.nngp, found.nngp_error, limit.nngp)
    assert within(found.ntk, found.ntk_error, limit.ntk)
    assert found.ntk.dtype == torch.float64
    largest = max(float(e.norm() / k.norm()) for k, e in zip(found[:2], found[2:], strict=True))
    assert estimate.error == pytest.approx(largest)
    assert largest < 0.1


def test_extrapolation_removes_what_single_widths_are_off_by():
    """Networks whose kernels are (1 + 8/m) times the limit, by their last layer."""

    def build(width):
        last = NTKLinear(width, 8, (1 + 8 / width) ** 0.5)
        return nn.Sequential(NTKLinear(6, width), Erf(), last).double()

    limit = ng.infinite_width(nn.Sequential(NTKLinear(6, 8), Erf(), NTKLinear(8, 1)).double()).kernels(X)
    alone = ng.kernels.monte_carlo_kernel(lambda: build(64), X, draws=30)
    assert not within(alone.ntk, alone.ntk_error, limit.ntk)
    estimate = ng.infinite_width_monte_carlo(build, width=64, draws=30, seed=2)
    with pytest.warns(AccuracyWarning) as said:
        found = estimate.kernels(X)
    assert [str(s.message)[0] for s in said] == ["Σ", "Θ"]
    assert within(found.ntk, found.ntk_error, limit.ntk)
    assert within(found.nngp, found.nngp_error, limit.nngp)
    assert found.ntk_error.norm() < 0.1 * limit.ntk.norm()


@pytest.mark.parametrize(("build", "x", "width"), [(pooled, IMAGES, 64), (attention, IMAGES[:, 0, :3, :5], 64)])
def test_what_infinite_width_refuses_is_estimated(build, x, width):
    with pytest.raises(ModelError, match=r"infinite_width_monte_carlo"):
        ng.infinite_width(build(8)).ntk(x)
    found = ng.infinite_width_monte_carlo(build, width=width, draws=16, seed=3).kernels(x)
    wide = ng.kernels.monte_carlo_kernel(lambda: build(4 * width), x, draws=12, seed=4)
    for name in ("nngp", "ntk"):
        mean, error = getattr(found, name), getattr(found, name + "_error")
        other, other_error = getattr(wide, name), getattr(wide, name + "_error")
        assert within(mean, (error.square() + other_error.square()).sqrt(), other)


@pytest.mark.filterwarnings("ignore::ntkgap.errors.AccuracyWarning")  # four draws are few
def test_all_methods_agree_and_repeat_themselves():
    estimate = ng.infinite_width_monte_carlo(mlp(1), width=8, draws=4)
    kernels = estimate.kernels(X, X[:2])
    torch.testing.assert_close(estimate.ntk(X, X[:2]), kernels.ntk, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(estimate.nngp(X, X[:2]), kernels.nngp, rtol=EXACT, atol=EXACT)
    whole = estimate.kernels(X)
    torch.testing.assert_close(whole.ntk[:, :2], kernels.ntk, rtol=EXACT, atol=EXACT)
    for part, full in zip(estimate.kernels(X, diagonal=True), whole, strict=True):
        torch.testing.assert_close(part, full.diagonal(), rtol=EXACT, atol=EXACT)
    crossed = estimate.kernels(X, X.flip(0), diagonal=True)
    torch.testing.assert_close(crossed.ntk, whole.ntk.flip(1).diagonal(), rtol=EXACT, atol=EXACT)
    other = ng.infinite_width_monte_carlo(mlp(1), width=8, draws=4, seed=1).ntk(X)
    assert not torch.allclose(other, whole.ntk)


def test_the_covariance_is_averaged_over_the_last_layer():
    """Its mean over redrawn readouts is that of the products of outputs, and its noise is none."""
    model = nn.Sequential(NTKLinear(6, 12), nn.ReLU(), nn.Linear(12, 400)).double()
    found = covariance_of(model, X, X[:3])
    outputs = []
    for _ in range(100):
        model[2].reset_parameters()
        outputs.append(model(X).detach())
        torch.testing.assert_close(covariance_of(model, X, X[:3]), found, rtol=EXACT, atol=EXACT)
    f = torch.cat(outputs, 1)
    torch.testing.assert_close(f @ f[:3].T / f.shape[1], found, rtol=0.1, atol=0.02 * float(found.max()))


def test_the_covariance_without_such_a_layer_is_that_of_the_outputs():
    for last in (nn.Tanh(), nn.Identity()):
        model = nn.Sequential(NTKLinear(6, 12), nn.Linear(12, 5), last).double()
        nn.init.normal_(model[1].weight)  # nobody knows the distribution from this sample
        f = model(X).detach()
        torch.testing.assert_close(covariance_of(model, X, None), f @ f.T / 5, rtol=EXACT, atol=EXACT)


def test_kernels_without_a_limit_are_refused():
    def standard(width):
        return ng.MLP(6, 4, width, 2, parametrization="standard").double()

    with pytest.raises(KernelError, match=r"Θ at width 64 is [34].* it does not tend to a limit .* NTK param"):
        ng.infinite_width_monte_carlo(standard, width=64, draws=10).ntk(X)
    found = ng.infinite_width_monte_carlo(standard, width=64, draws=80).nngp(X)
    assert torch.isfinite(found).all()  # the covariance has a limit

    def mean_field(width):
        return ng.MLP(6, 4, width, 2, parametrization="mean_field").double()

    with pytest.raises(KernelError, match=r"Σ at width 64 is 0\.2.* in the mean-field one Σ vanishes"):
        ng.infinite_width_monte_carlo(mean_field, width=64, draws=10).nngp(X)


def test_differences_are_judged_beside_their_errors():
    ones = torch.ones(3, 3, dtype=torch.float64)
    widths = (10, 40)
    with pytest.warns(AccuracyWarning, match=r"Θ at width 40 is 0.769 times .* differs by 30%"):
        value, error = extrapolate("Θ", widths, (1.3 * ones, 0.01 * ones), (ones, 0.01 * ones))
    torch.testing.assert_close(value, 0.9 * ones)  # 0.9 + 4/10 and 0.9 + 4/40
    torch.testing.assert_close(error, 17**0.5 / 3 * 0.01 * ones)
    with pytest.warns(AccuracyWarning, match=r"known to 14% only: if it had no limit"):
        extrapolate("Θ", widths, (1.1 * ones, 0.1 * ones), (ones, 0.1 * ones))
    extrapolate("Θ", widths, (1.2 * ones, 0.08 * ones), (ones, 0.08 * ones))  # chance
    extrapolate("Θ", widths, (1.1 * ones, 0.001 * ones), (ones, 0.001 * ones))  # small
    value, error = extrapolate("Σ", widths, (0 * ones, 0 * ones), (0 * ones, 0 * ones))
    assert not value.any()
    assert not error.any()


def test_bad_arguments():
    with pytest.raises(ModelError, match=r"build must be a function width -> network, got int"):
        ng.infinite_width_monte_carlo(64)
    for width in (0, 6, 8.0, True):
        with pytest.raises(KernelError, match=r"width must be a positive multiple of 4"):
            ng.infinite_width_monte_carlo(mlp(1), width=width)
    with pytest.raises(KernelError, match=r"draws must be an integer of at least 2"):
        ng.infinite_width_monte_carlo(mlp(1), draws=1)
    with pytest.raises(ModelError, match=r"build must return an nn.Module, got int"):
        ng.infinite_width_monte_carlo(lambda width: width).ntk(X)
    fixed = mlp(1)(8)
    with pytest.raises(KernelError, match=r"all networks have the same kernel: build must draw"):
        ng.infinite_width_monte_carlo(lambda width: fixed, draws=2).ntk(X)
    with pytest.raises(DataError, match=r"diagonal=True pairs"):
        ng.infinite_width_monte_carlo(mlp(1), draws=2).ntk(X, X[:2], diagonal=True)


class Masked(nn.Module):
    """Features of tokens, and a mask of those that count."""

    def __init__(self, width):
        super().__init__()
        self.a, self.b = NTKLinear(3, width).double(), NTKLinear(width, 4).double()

    def forward(self, x, mask):
        return self.b((torch.relu(self.a(x)) * mask[..., None]).mean(1))


def test_inputs_may_be_several():
    x, mask = torch.randn(4, 5, 3, dtype=torch.float64), torch.ones(4, 5, dtype=torch.float64)
    limit = ng.infinite_width_monte_carlo(Masked, width=64, draws=8)
    found = limit.kernels({"x": x, "mask": mask})
    for one, other in zip(found, limit.kernels((x, mask)), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(DataError, match="takes tensors"):
        limit.ntk((x, mask), diagonal=True)
    with pytest.raises(DataError, match="infinite_width_monte_carlo"):
        ng.infinite_width(nn.Linear(3, 1)).ntk({"x": x})


def test_networks_that_mix_examples_and_bad_arguments_are_refused():
    def mixing(width):
        return nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 4)).double()

    limit = ng.infinite_width_monte_carlo(mixing, width=16, draws=2)
    for kernel in (limit.nngp, limit.ntk):
        with pytest.raises(ModelError, match="BatchNorm1d"):
            kernel(X)
    with pytest.raises(ModelError, match=r"calls build\(width\)"):
        ng.infinite_width_monte_carlo(lambda: nn.Linear(6, 2), width=16, draws=2).nngp(X)
    with pytest.raises(KernelError, match="seed must be"):
        ng.infinite_width_monte_carlo(mixing, width=16, draws=2, seed="a")
