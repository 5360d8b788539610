"""What cannot be computed is refused in words that say what, where and what to do."""

import copy

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import DataError, KernelError, ModelError
from tests.kernels.empirical.modules import Functional, With


def net(*layers):
    return nn.Sequential(nn.Linear(4, 5), *layers, nn.Linear(5, 2))


X = torch.randn(6, 4)


@pytest.mark.parametrize(
    ("model", "pieces"),
    [
        (net(nn.BatchNorm1d(5)), ("'1' (BatchNorm1d)", "train mode", "model.eval()", "GroupNorm")),
        (net(nn.BatchNorm1d(5, track_running_stats=False)).eval(), ("'1' (BatchNorm1d)", "GroupNorm")),
        (nn.Sequential(net(nn.Dropout(0.5))), ("'0.1' (Dropout)", "p=0.5", "model.eval()")),
        (net(nn.RReLU()), ("RReLU", "model.eval()")),
        (With(lambda m, x: m.a(x) - m.a(x).mean(0), a=nn.Linear(4, 2)), ("other examples", "eval mode")),
        (With(lambda m, x: m.a(x) / len(x), a=nn.Linear(4, 2)), ("other examples",)),
        (With(lambda m, x: m.a(x - x[:1]), a=nn.Linear(4, 2)), ("other examples",)),
        (With(lambda m, x: m.a(x.cumsum(0)), a=nn.Linear(4, 2)), ("other examples",)),
        (With(lambda m, x: torch.dropout(m.a(x), 0.5, True), a=nn.Linear(4, 2)), ("random",)),
        (Functional(lambda m, x: x * m.w * torch.inf, w=(4,)), ("NaN or infinite", "index 0")),
        (With(lambda m, x: m.a(x)[:1], a=nn.Linear(4, 2)), ("[n, 4]", "[1, 2]")),
        (With(lambda m, x: (m.a(x), x), a=nn.Linear(4, 2)), ("tuple",)),
        (nn.ReLU(), ("no parameters",)),
        (nn.Linear(4, 2).requires_grad_(False), ("frozen", "parameters=")),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else type(value).__name__,
)
def test_models_without_a_per_example_jacobian(model, pieces):
    with pytest.raises(ModelError) as caught:
        ng.empirical_ntk(model, X)
    for piece in pieces:
        assert piece in str(caught.value)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("couple", [lambda h: h - h.mean(0), lambda h: h - h[:1], lambda h: h / h.norm(dim=0)])
def test_coupling_shows_with_few_examples_too(couple, n):
    model = With(lambda m, x: couple(m.a(x)), a=nn.Linear(4, 2))
    with pytest.raises(ModelError, match="other examples"):
        ng.empirical_ntk(model, X[:n])


def test_modes_around_a_call_change_nothing():
    model = net(nn.Tanh())
    expected = ng.empirical_ntk(model, X)
    v = torch.randn(12)
    product = ng.NTKOperator(model, X) @ v
    for mode in (
        torch.no_grad(),
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16),
    ):
        with mode:
            assert torch.equal(ng.empirical_ntk(model, X), expected)
            assert torch.equal(ng.NTKOperator(model, X) @ v, product)
    with torch.inference_mode():
        made_inside = copy.deepcopy(model), X.clone()
    assert torch.equal(ng.empirical_ntk(*made_inside), expected)


def test_outputs_of_any_shape_are_flattened_row_by_row():
    flat = nn.Sequential(nn.Linear(4, 6))
    shaped = nn.Sequential(flat[0], nn.Unflatten(1, (2, 3)))
    assert torch.equal(ng.empirical_ntk(shaped, X), ng.empirical_ntk(flat, X))


class Centered(nn.Module):
    """Couples examples in a way that two examples alone do not show in their outputs."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 2)

    def forward(self, x):
        h = self.a(x)
        return h + (h - h.detach()).mean(0)  # the value is h; the gradient is not


def test_a_coupling_that_only_gradients_show_does_not_give_the_coupled_numbers():
    model = Centered().double()
    x = X.double()
    # One example at a time: f = 2h − const.
    expected = 4 * ng.empirical_ntk(model.a, x)
    assert torch.allclose(ng.empirical_ntk(model, x), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("x", "pieces"),
    [
        (torch.randint(3, (6, 4)), ("int64", "x.to(torch.float32)")),
        (X.double(), ("x1", "float64", "dtype=")),
        (X[:0], ("x1", "(0, 4)", "at least one")),
        (torch.tensor(1.0), ("x1", "[n, ...]")),
        (X.numpy(), ("x1", "ndarray")),
        (torch.randn(6, 4, device="meta"), ("x1", "meta", "cpu")),
    ],
)
def test_inputs_that_do_not_fit(x, pieces):
    with pytest.raises(DataError) as caught:
        ng.empirical_ntk(net(), x)
    for piece in pieces:
        assert piece in str(caught.value)


def test_the_second_inputs_are_called_by_their_name():
    with pytest.raises(DataError, match="x2"):
        ng.empirical_ntk(net(), X, X.double())


@pytest.mark.parametrize(
    ("options", "pieces"),
    [
        ({"outputs": "all"}, ("'all'", "full, mean, diagonal, sum")),
        ({"parameters": ["0.wieght"]}, ("'0.wieght'", "0.weight")),
        ({"parameters": lambda name, p: False}, ("none of the 4",)),
        ({"memory_budget": 10}, ("10 bytes", "pair of examples", "mean")),
        ({"memory_budget": -1}, ("positive",)),
        ({"dtype": torch.int64}, ("int64",)),
    ],
)
def test_options_that_make_no_sense(options, pieces):
    with pytest.raises(KernelError) as caught:
        ng.empirical_ntk(net(), X, **options)
    for piece in pieces:
        assert piece in str(caught.value)


def test_an_error_inside_the_model_leaves_it_as_it_was():
    def forward(m, x):
        h = m.a(x)
        if len(x) > 3:
            raise ValueError("mine")
        return h

    model = With(forward, a=nn.Linear(4, 2))
    weight = model.a.weight
    with pytest.raises(ValueError, match="mine"):
        ng.empirical_ntk(model, X)
    assert model.a.weight is weight
    assert isinstance(model.a.weight, nn.Parameter)
    assert weight.requires_grad
    assert weight.grad is None
    assert torch.is_tensor(model.a(X))


def test_integers_and_floats_are_not_taken_for_each_other():
    with pytest.raises(DataError, match="int64"):
        ng.empirical_ntk(nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten()), torch.randint(3, (4, 1, 3, 3)))
    with pytest.raises(DataError, match=r"x\.long\(\)"):
        ng.empirical_ntk(nn.Sequential(nn.Embedding(5, 2), nn.Flatten()), torch.rand(4, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_that_cancel_are_not_taken_for_coupling(dtype):
    """At an antisymmetric initialization the outputs are rounding, and nothing is wrong with that."""
    torch.manual_seed(0)
    half = ng.MLP(4, 3, 64, 3).to(dtype)
    other = copy.deepcopy(half)
    noise = 1e-6 if dtype == torch.float32 else 1e-15
    with torch.no_grad():
        for p in other.parameters():
            p *= 1 + noise
    model = With(lambda m, x: m.a(x) - m.b(x), a=half, b=other)
    x = torch.randn(30, 4, dtype=dtype)
    expected = 2 * ng.empirical_ntk(half, x)
    assert torch.allclose(ng.empirical_ntk(model, x), expected, rtol=1e-3, atol=1e-3 * float(expected.max()))
