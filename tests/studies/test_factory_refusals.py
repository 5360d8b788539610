"""What a study refuses of a factory, an option or a built network: one line each, with a remedy."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.studies.factories import factory_of
from ntkgap.studies.problem import check_outputs
from tests.studies.made import DATA, mlp


def own_source(width, in_features, n_outputs):
    network = mlp(width, in_features, n_outputs)
    nn.init.constant_(network[1].weight, np.random.default_rng().normal())
    return network


SHARED = nn.Linear(5, 4)


class Returns(nn.Module):
    """Anything that a forward may return."""

    def __init__(self, what):
        super().__init__()
        self.layer, self.what = nn.Linear(5, 2), what

    def forward(self, x):
        return self.what(self.layer(x))


def functional_dropout(y):
    return nn.functional.dropout(y)


def cannot(text):
    def build(width, in_features, n_outputs):
        raise AssertionError(text)

    return build


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (cannot("too narrow"), r"failed at width 3: AssertionError: too narrow \(line \d+\)$"),
        (cannot("Torch not compiled with CUDA enabled"), "CUDA enabled .*; build the network on the CPU"),
        (lambda width: sys.exit(3), r"failed at width 3: SystemExit: 3"),
        (lambda width: None, "must return an nn.Module, got NoneType"),
        (lambda width: [nn.Linear(5, 2)], "must return an nn.Module, got list"),
        (lambda width, units: None, "asks for units; a factory is given width, generator, in_shape"),
        (lambda width: nn.Linear(5, 2, device="meta"), "puts weight on meta; build the network on the CPU"),
        (
            lambda width: nn.LazyLinear(2),
            "weight of model has no shape before the first call; call the network once",
        ),
        (lambda width: torch.jit.trace(nn.Linear(5, 2), torch.ones(1, 5)), "compiled to TorchScript"),
        (lambda width: nn.Linear(5, 2).requires_grad_(False), "no parameter that is trained"),
        (lambda width: nn.Flatten(), "no parameter that is trained"),
        (
            lambda width: nn.Linear(6, 2),
            r"does not take inputs of shape \(2, 5\): .*; build it for in_shape=\(5,\)",
        ),
        (lambda width: nn.Linear(5, 3), r"returns \(2, 3\) for 2 examples, .* give it 2 outputs"),
        (lambda width: Returns(lambda y: y[..., None]), r"returns \(2, 2, 1\) .* must return \(2, 2\)"),
        (lambda width: Returns(lambda y: (y, y)), r"returns tuple; wrap it so that it returns \[n, C\]"),
        (lambda width: Returns(lambda y: {"logits": y}), r"returns dict; wrap it"),
        (lambda width: Returns(lambda y: y.detach().numpy()), r"returns ndarray; wrap it"),
        (lambda width: Returns(functional_dropout), "other numbers for the same inputs in evaluation mode"),
        (own_source, r"own_source gives 1.weight other values for the same seed"),
        (lambda width: nn.Sequential(SHARED, nn.Linear(4, 2)), "share 0.weight, .* copy.deepcopy"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_what_a_study_refuses_before_it_starts(build, words):
    x, y = DATA.x.repeat(5, 1) + torch.arange(40.0)[:, None], torch.arange(40) % 2
    before = torch.get_rng_state()
    with pytest.raises(ng.NtkgapError, match=words) as found:
        ng.OptimizationStudy.preset(
            "smoke", problems=["MLP"], model=build, data=(x, y), widths=[3], n_train=4, n_test=4
        )
    assert len(str(found.value).splitlines()) == 1
    assert torch.get_rng_state().equal(before)


def test_networks_that_return_no_numbers_are_not_random():
    check_outputs("mine", Returns(lambda y: y / 0 * 0), DATA)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 2}, "mlp takes no option depth; it takes width, in_features, n_outputs"),
        ({"width": 2}, "options of mlp cannot hold width; the study sets that"),
        ({"act": nn.ReLU}, "must be numbers, texts, lists or mappings, and act is <class"),
        ({"scale": float("nan")}, "and scale is nan"),
        ({"size": 10**12}, "options of mlp: no whole number can be beyond 1000000000"),
        (None, "options of a factory must be a mapping by argument, got NoneType"),
        ([1], "options of a factory must be a mapping by argument, got list"),
    ],
)
def test_options_that_are_none(options, words):
    with pytest.raises(ng.NtkgapError, match=words):
        ng.OptimizationStudy.preset("smoke", model={"factory": mlp, "options": options}, widths=[3]).check()


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.LazyLinear(10)),
            "1.weight of Sequential has no shape before the first call",
        ),
        (nn.Linear(64, 10, device="meta"), "Linear puts weight on meta"),
    ],
)
def test_built_networks_that_cannot_be_used(network, words):
    with pytest.raises(ng.NtkgapError, match=words):
        factory_of(network)
