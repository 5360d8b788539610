"""What layers were drawn from is read off their weights, or said."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.models import Initialization

VECTORS = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("start", "variance"),
    [
        (lambda w: None, 1 / 3),
        (lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), 2.0),
        (lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"), 2.0),
        (lambda w: nn.init.xavier_uniform_(w), 2 * 40 / (40 + 200)),
        (lambda w: nn.init.orthogonal_(w), 1.0 * 40 / 200),
        (lambda w: nn.init.zeros_(w), 0.0),
    ],
)
def test_customary_ones_are_recognized(start, variance):
    torch.manual_seed(0)
    layer = nn.Linear(40, 200, bias=False)
    start(layer.weight)
    x = torch.randn(3, 40, dtype=torch.float64)
    found = ng.infinite_width(layer).nngp(x)
    torch.testing.assert_close(found, variance * x @ x.T / 40)


def test_others_are_refused_or_given():
    layer = nn.Linear(40, 200)
    nn.init.normal_(layer.weight, std=0.7)
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(200, 1))
    x = torch.randn(3, 40)
    with pytest.raises(ModelError, match=r"the weights of '0' have a standard deviation of 0\.[67]"):
        ng.infinite_width(model).ntk(x)
    said = {"0": Initialization(1.0, 0.7, 1.0, 0.0)}
    assert torch.isfinite(ng.infinite_width(model, initializations=said).ntk(x)).all()
    with pytest.raises(ModelError, match=r"names 'body', which is not a layer with weights"):
        ng.infinite_width(model, initializations={"body": said["0"]})
    nn.init.constant_(layer.weight, 0.1)
    with pytest.raises(ModelError, match=r"the weights of '0'"):
        ng.infinite_width(model).ntk(x)
    nn.init.kaiming_normal_(layer.weight)
    nn.init.constant_(layer.bias, 0.5)
    with pytest.raises(ModelError, match=r"the biases of '0'"):
        ng.infinite_width(model).ntk(x)


def test_trained_weights_are_refused():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 300), nn.ReLU(), nn.Linear(300, 1))
    with torch.no_grad():
        model[0].weight.mul_(1.5)
    with pytest.raises(ModelError, match=r"pass one that has not been trained"):
        ng.infinite_width(model).ntk(VECTORS)
