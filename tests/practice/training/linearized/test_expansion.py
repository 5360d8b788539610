import copy

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError
from tests.reference.dense import dense_jacobian
from tests.tolerances import EXACT


def perturb(linearized, size, generator):
    with torch.no_grad():
        for p in linearized.parameters():
            p += size * torch.randn(p.shape, dtype=p.dtype, generator=generator)


@pytest.fixture
def setting(generator):
    model = ng.MLP(4, 3, 6, 2, "tanh", bias_std=0.2, generator=generator).double()
    return model, torch.randn(5, 4, dtype=torch.float64, generator=generator)


def test_the_linearized_model_is_the_taylor_expansion(setting, generator):
    model, x = setting
    linearized = ng.linearize(model)
    torch.testing.assert_close(linearized(x), model(x), rtol=EXACT, atol=EXACT)
    perturb(linearized, 0.5, generator)
    step = nn.utils.parameters_to_vector(linearized.parameters()) - nn.utils.parameters_to_vector(
        model.parameters()
    )
    expected = model(x) + (dense_jacobian(model, x) @ step).view(5, 3)
    torch.testing.assert_close(linearized(x), expected, rtol=EXACT, atol=EXACT)


def test_a_linear_network_is_its_own_linearization(setting, generator):
    _, x = setting
    linearized = ng.linearize(nn.Linear(4, 3).double())
    perturb(linearized, 1.0, generator)
    linear = copy.deepcopy(linearized.network)
    torch.testing.assert_close(linearized(x), linear(x), rtol=EXACT, atol=EXACT)


def test_the_kernel_of_the_linearized_model_never_moves(setting, generator):
    model, x = setting
    linearized = ng.linearize(model)
    perturb(linearized, 0.5, generator)
    torch.testing.assert_close(ng.empirical_ntk(linearized, x), ng.empirical_ntk(model, x), rtol=EXACT, atol=EXACT)


def test_the_model_is_left_alone(setting):
    model, x = setting
    before = copy.deepcopy(model)
    linearized = ng.linearize(model)
    linearized(x).sum().backward()
    torch.optim.SGD(linearized.parameters(), lr=1.0).step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert not torch.equal(linearized(x), model(x))


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ModelError, match="no parameters"):
        ng.linearize(nn.ReLU())
