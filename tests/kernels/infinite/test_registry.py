import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ntkgap.kernels.infinite.activations import find_activation, is_elementwise
from ntkgap.models import NONLINEARITIES, nonlinearities
from tests.kernels.infinite.activation_cases import CASES, pairs_of
from tests.tolerances import EXACT


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


class Centered(nn.Module):
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
        Centered(),
        Broken(),
    ],
)
def test_other_modules_are_not(module):
    assert not is_elementwise(module)
