"""What has no expansion is refused by name, with the remedy."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import DataError, ModelError
from tests.kernels.empirical.modules import With


def around(layer):
    return nn.Sequential(nn.Linear(4, 8), layer, nn.Linear(8, 2))


def frozen():
    return around(nn.Tanh()).requires_grad_(False)


def scripted():
    with pytest.warns(DeprecationWarning, match=r"torch\.jit\.script"):
        return nn.Sequential(torch.jit.script(around(nn.Tanh())), nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.ReLU(), "no parameters"),
        (frozen, r"all 4 parameters of Sequential are frozen.*unfreeze some"),
        (lambda: around(nn.Dropout(0.5)), r"'1' \(Dropout\) drops units at random.*model.eval\(\)"),
        (lambda: around(nn.BatchNorm1d(8)), r"'1' \(BatchNorm1d\) normalizes over the batch.*model.eval\(\)"),
        (lambda: around(nn.BatchNorm1d(8, track_running_stats=False)).eval(), r"'1' \(BatchNorm1d\).*GroupNorm"),
        (scripted, r"0 is compiled to TorchScript.*pass the original"),
        (
            lambda: around(nn.Tanh()).to("meta"),
            r"'0.weight' of Sequential is on the meta device.*load",
        ),
        (lambda: nn.Sequential(nn.LazyLinear(4)), r"'0.weight' of Sequential has no shape yet; call"),
        (lambda: around(nn.Tanh()).to(torch.complex64), r"'0.weight' is torch.complex64"),
    ],
)
def test_networks(build, message):
    with pytest.raises(ModelError, match=message):
        ng.linearize(build())


def held_elsewhere():
    model = With(lambda m, x: F.linear(x, *m.held()), a=nn.Linear(4, 2))
    pair = (model.a.weight, model.a.bias)
    model.held = lambda: pair
    return model


def noisy(m, x):
    return m.a(x) + torch.randn(len(x), 2)


def dropping(m, x):
    return m.a(F.dropout(x, 0.5))


def reentrant(m, x):
    return torch.utils.checkpoint.checkpoint(torch.sin, m.a(x), use_reentrant=True)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda m, x: (m.a(x), x), r"With returned a tuple of 2; one tensor .*is needed.*wrap the model"),
        (
            lambda m, x: {"mean": m.a(x)},
            r"With returned a dict with the keys 'mean'; one tensor .*is needed",
        ),
        (lambda m, x: None, r"With returned a NoneType"),
        (lambda m, x: m.a(x).argmax(1), r"With returned torch.int64; real floating-point outputs are needed"),
        (lambda m, x: m.a(x) / 0.0, r"With returned NaN or infinite outputs"),
        (noisy, r"With gives other outputs from call to call: it draws random numbers.*model.eval\(\)"),
        (dropping, r"With gives other outputs from call to call"),
        (reentrant, r"With calls torch.utils.checkpoint with use_reentrant=True"),
    ],
)
def test_forward_passes(forward, message):
    linearized = ng.linearize(With(forward, a=nn.Linear(4, 2)))
    with pytest.raises(ModelError, match=message):
        linearized(torch.ones(3, 4))


def test_a_parameter_that_cannot_be_replaced():
    linearized = ng.linearize(held_elsewhere())
    with pytest.raises(ModelError, match=r"uses 'a\.(weight|bias)' through a reference of its own"):
        linearized(torch.ones(3, 4))


def test_errors_of_the_network_name_its_inputs():
    with pytest.raises(DataError, match=r"Linear does not take these inputs.*\[3, 7\].*cannot be multiplied"):
        ng.linearize(nn.Linear(4, 2))(torch.ones(3, 7))
