import copy

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError
from tests.reference.dense import dense_jacobian
from tests.tolerances import EXACT


def perturb(twin, size, generator):
    with torch.no_grad():
        for p in twin.parameters():
            p += size * torch.randn(p.shape, dtype=p.dtype, generator=generator)


@pytest.fixture
def setting(generator):
    model = ng.MLP(4, 3, 6, 2, "tanh", bias_std=0.2, generator=generator).double()
    return model, torch.randn(5, 4, dtype=torch.float64, generator=generator)


def test_the_twin_is_the_taylor_expansion(setting, generator):
    model, x = setting
    twin = ng.linearize(model)
    torch.testing.assert_close(twin(x), model(x), rtol=EXACT, atol=EXACT)
    perturb(twin, 0.5, generator)
    step = nn.utils.parameters_to_vector(twin.parameters()) - nn.utils.parameters_to_vector(model.parameters())
    expected = model(x) + (dense_jacobian(model, x) @ step).view(5, 3)
    torch.testing.assert_close(twin(x), expected, rtol=EXACT, atol=EXACT)


def test_a_linear_network_is_its_own_linearisation(setting, generator):
    _, x = setting
    twin = ng.linearize(nn.Linear(4, 3).double())
    perturb(twin, 1.0, generator)
    linear = copy.deepcopy(twin.network)
    torch.testing.assert_close(twin(x), linear(x), rtol=EXACT, atol=EXACT)


def test_the_kernel_of_the_twin_never_moves(setting, generator):
    model, x = setting
    twin = ng.linearize(model)
    perturb(twin, 0.5, generator)
    torch.testing.assert_close(ng.empirical_ntk(twin, x), ng.empirical_ntk(model, x), rtol=EXACT, atol=EXACT)


def test_the_model_is_left_alone(setting):
    model, x = setting
    before = copy.deepcopy(model)
    twin = ng.linearize(model)
    twin(x).sum().backward()
    torch.optim.SGD(twin.parameters(), lr=1.0).step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert not torch.equal(twin(x), model(x))


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ModelError, match="no parameters"):
        ng.linearize(nn.ReLU())
