"""Networks and inputs that hold no numbers yet, or hold them in a way that nothing here takes: one sentence."""

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn

import ntkgap as ng
from ntkgap.data.streams import load_stream
from ntkgap.errors import NtkgapError

X, Y = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(6, 1)


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def lazy():
    return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 1))


DOORS = {
    "train": lambda model, x: ng.train(model(), (x, Y), learning_rate=0.01, steps=1),
    "train_ensemble": lambda model, x: ng.train_ensemble(
        lambda i: model(), (x, Y), 2, learning_rate=0.01, steps=1, inputs=X
    ),
    "inputs of an ensemble": lambda model, x: ng.train_ensemble(
        lambda i: model(), (X, Y), 2, learning_rate=0.01, steps=1, inputs=x
    ),
    "linearize": lambda model, x: ng.linearize(model())(x),
    "empirical_ntk": lambda model, x: ng.empirical_ntk(model(), x),
    "NTKOperator": lambda model, x: ng.NTKOperator(model(), x) @ torch.ones(6),
    "infinite_width": lambda model, x: ng.infinite_width(model()).ntk(x),
}
INPUTS = {
    "sparse": (X.to_sparse(), "sparse|dense"),
    "sparse rows": (X.to_sparse_csr(), "sparse|dense"),
    "scipy": (scipy.sparse.csr_matrix(X.numpy()), "csr_matrix"),
    "meta": (X.to("meta"), "meta"),
}
NETWORKS = {
    "lazy": (lazy, "no shape yet"),
    "TorchScript": (lambda: torch.jit.script(net()), "compiled to TorchScript"),
    "meta": (lambda: net().to("meta"), "meta"),
    "no network": (lambda: 3, "nn.Module|network|model"),
}


@pytest.mark.parametrize("door", DOORS)
def test_doors_open_to_ordinary_networks(door):
    DOORS[door](net, X)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("what", [*INPUTS, *NETWORKS])
@pytest.mark.parametrize("door", DOORS)
def test_one_sentence_says_what_is_missing(door, what, request):
    if (door, what) in {("linearize", "sparse"), ("linearize", "sparse rows"), ("train", "TorchScript")}:
        DOORS[door](*((net, INPUTS[what][0]) if what in INPUTS else (NETWORKS[what][0], X)))  # torch can
        return
    model, x, words = (net, *INPUTS[what]) if what in INPUTS else (NETWORKS[what][0], X, NETWORKS[what][1])
    if "meta" in what:
        model, x = (net, X.to("meta")) if door == "inputs of an ensemble" else (model, x)
    with pytest.raises(NtkgapError, match=words) as caught:
        DOORS[door](model, x)
    assert "\n" not in str(caught.value)


@pytest.fixture
def on_meta():
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("door", DOORS)
def test_meta_as_the_default_device(door, on_meta):
    for x in (X, torch.randn(6, 3)):
        with pytest.raises(NtkgapError, match="meta"):
            DOORS[door](net, x)


@pytest.mark.parametrize("name", ["digits", "sphere", "toy", "wheel"])
def test_no_data_are_made_on_meta(name, on_meta):
    for load in (lambda: ng.load_data(name, 10, 10), lambda: load_stream("split")):
        with pytest.raises(NtkgapError, match="default device is 'meta'"):
            load()
    with pytest.raises(NtkgapError, match="default device is 'meta'"):
        ng.load_data((np.eye(4), np.arange(4.0)), 2, 2)
