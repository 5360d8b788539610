import math

import pytest
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.models import Antisymmetric, ConvNet, Scaled, Transformer, WideResNet, describe


def test_an_mlp_is_described_by_its_knobs():
    size = describe(ng.MLP(5, 2, 10, 3, bias_std=0.1))
    assert size.widths == (10, 10, 10)
    assert (size.depth, size.width_to_depth, size.beta) == (3, 10 / 3, pytest.approx(0.3))
    assert size.parameters == 5 * 10 + 10 + 2 * (10 * 10 + 10) + 10 * 2 + 2


def test_any_torch_model_is_described_by_its_layers():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2)
    )
    size = describe(model)
    assert size.widths == (4, 8)
    assert size.beta == 1 / 4 + 1 / 8
    assert size.width_to_depth == 2
    model[0].requires_grad_(False)
    assert describe(model).parameters == 16 * 8 + 8 + 8 * 2 + 2
    linear = describe(nn.Linear(3, 1))
    assert (linear.depth, linear.beta, linear.width_to_depth) == (0, 0, math.inf)


def test_shortcuts_and_parallel_maps_do_not_count_as_depth():
    assert describe(WideResNet(1, 1, 2, 1)).widths == (2, 2, 2, 4, 4, 8, 8)
    assert describe(Transformer(1, 1, 3, 2)).widths == (3, 3, 12, 3, 12)
    assert describe(ng.models.ShallowNet(3, 7)).widths == (7,)


@pytest.mark.parametrize("settings", [{}, {"alpha": 2.0, "antisymmetric": True}])
def test_wrappers_do_not_change_the_widths(settings):
    model = ConvNet(1, 1, 4, 3, **settings)
    assert describe(model).widths == (4, 4, 4)
    inner = nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 1))
    assert describe(Scaled(Antisymmetric(inner), 3.0)).widths == (5,)
    assert describe(Antisymmetric(inner)).parameters == 2 * describe(inner).parameters


def test_models_without_parameters_are_refused():
    with pytest.raises(ModelError, match=r"no trainable parameters"):
        describe(nn.ReLU())
