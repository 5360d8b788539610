"""Calling networks with other tensors: the right values go to every place, and nothing is left behind."""

import copy

import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.models import substitution
from ntkgap.models.substitution import call_with, places
from ntkgap.practice import train, train_ensemble
from tests.kernels.empirical.modules import Functional, With
from tests.tolerances import EXACT, ITERATED


def linear_twice(seed=0):
    torch.manual_seed(seed)
    shared = nn.Linear(3, 3)
    return nn.Sequential(shared, nn.Tanh(), shared).double()


def linear_twice_written_out(p, x):
    h = torch.tanh(F.linear(x, p["0.weight"], p["0.bias"]))
    return F.linear(h, p["0.weight"], p["0.bias"])


def block_twice(seed=0):
    torch.manual_seed(seed)
    block = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    return With(lambda m, x: m.blocks[1](m.blocks[0](x) + x), blocks=nn.ModuleList([block, block])).double()


def block_twice_written_out(p, x):
    def block(h):
        return torch.tanh(F.linear(h, p["blocks.0.0.weight"], p["blocks.0.0.bias"]))

    return block(block(x) + x)


def convolution_twice(seed=0):
    torch.manual_seed(seed)
    shared = nn.Conv1d(1, 1, 3, padding=1)
    return nn.Sequential(nn.Unflatten(1, (1, 3)), shared, nn.Tanh(), shared, nn.Flatten()).double()


def convolution_twice_written_out(p, x):
    h = torch.tanh(F.conv1d(x[:, None], p["1.weight"], p["1.bias"], padding=1))
    return F.conv1d(h, p["1.weight"], p["1.bias"], padding=1).flatten(1)


def shallow_copies(seed=0):
    """Two modules, but one table of parameters."""
    torch.manual_seed(seed)
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), copy.copy(layer)).double()


SHARING = {
    "linear": (linear_twice, linear_twice_written_out),
    "block": (block_twice, block_twice_written_out),
    "convolution": (convolution_twice, convolution_twice_written_out),
    "shallow copies": (shallow_copies, linear_twice_written_out),
}
sharing = pytest.mark.parametrize(("build", "written_out"), SHARING.values(), ids=SHARING.keys())


@pytest.fixture
def x(generator):
    return torch.randn(4, 3, dtype=torch.float64, generator=generator)


def jacobian_of(written_out, parameters, x):
    """[n, C, P] of one set of shared parameters."""
    blocks = vmap(jacrev(lambda p, xi: written_out(p, xi[None])[0]), (None, 0))(parameters, x)
    return torch.cat([block.flatten(2) for block in blocks.values()], 2)


class Watch:
    """Remembers a model's tensors, to see later that they are the same objects with the same values."""

    def __init__(self, model):
        self.model = model
        self.kept = self.entries()
        self.values = [t.detach().clone() for t in self.kept.values()]

    def entries(self):
        """Every entry of every table, by module: no path is left out."""
        return {
            (id(m), kind, key): tensor
            for m in self.model.modules()
            for kind in ("_parameters", "_buffers")
            for key, tensor in getattr(m, kind).items()
            if tensor is not None
        }

    def check(self):
        now = self.entries()
        assert now.keys() == self.kept.keys()
        assert all(now[key] is tensor for key, tensor in self.kept.items())
        assert all(torch.equal(t, value) for t, value in zip(now.values(), self.values, strict=True))


@sharing
def test_values_arrive_at_every_path_and_leave_again(build, written_out, x):
    model = build()
    watch = Watch(model)
    other = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    torch.testing.assert_close(call_with(model, other, (x,)), written_out(other, x), rtol=EXACT, atol=EXACT)
    watch.check()
    own = dict(model.named_parameters())
    torch.testing.assert_close(model(x), written_out(own, x), rtol=EXACT, atol=EXACT)


@sharing
def test_kernels_of_a_module_at_two_paths(build, written_out, x):
    model = build()
    watch = Watch(model)
    jacobian = jacobian_of(written_out, {k: p.detach() for k, p in model.named_parameters()}, x)
    expected = torch.einsum("iap,jbp->ijab", jacobian, jacobian)
    torch.testing.assert_close(ng.empirical_ntk(model, x), expected, rtol=EXACT, atol=EXACT)
    watch.check()
    operator = ng.NTKOperator(model, x)
    v = torch.randn(operator.shape[1], dtype=torch.float64)
    torch.testing.assert_close(operator @ v, ng.as_matrix(expected) @ v, rtol=EXACT, atol=EXACT)
    watch.check()


@sharing
def test_the_linearized_model_of_a_module_at_two_paths(build, written_out, x):
    model = build()
    watch = Watch(model)
    linearized = ng.linearize(model)
    torch.testing.assert_close(linearized(x), model(x), rtol=EXACT, atol=EXACT)
    inner = Watch(linearized)
    linearized(x).sum().backward()
    inner.check()
    start = nn.utils.parameters_to_vector(model.parameters()).detach()
    torch.optim.SGD(linearized.parameters(), lr=0.1).step()
    step = nn.utils.parameters_to_vector(linearized.parameters()).detach() - start
    jacobian = jacobian_of(written_out, {k: p.detach() for k, p in model.named_parameters()}, x)
    torch.testing.assert_close(linearized(x), model(x) + jacobian @ step, rtol=EXACT, atol=EXACT)
    watch.check()


@sharing
def test_ensembles_of_modules_at_two_paths(build, written_out, x, generator):
    data = ng.Dataset(x, torch.randn(4, 3, dtype=torch.float64, generator=generator))
    inputs = torch.randn(2, 3, dtype=torch.float64, generator=generator)
    members = [build(i) for i in range(3)]
    watches = [Watch(member) for member in members]
    found = train_ensemble(members.__getitem__, data, 3, learning_rate=0.02, steps=8, inputs=inputs)
    for i, watch in enumerate(watches):
        watch.check()
        alone = build(i)
        train(alone, data, learning_rate=0.02, steps=8)
        torch.testing.assert_close(found.outputs[i, 0], alone(inputs).detach(), rtol=ITERATED, atol=EXACT)


@pytest.mark.parametrize("tied_first", [True, False])
def test_members_that_tie_differently_are_refused(tied_first, x):
    def build(i):
        untied = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).double()
        return linear_twice() if (i == 0) is tied_first else untied

    with pytest.raises(ModelError, match=r"share one architecture: member 1 has other parameters than member 0"):
        train_ensemble(build, ng.Dataset(x, x), 2, learning_rate=0.1, steps=1, inputs=x)


def test_the_model_is_restored_when_it_raises(x):
    def forward(m, x):
        m.layers[1](m.layers[0](x))
        raise ZeroDivisionError

    shared = nn.Linear(3, 3)
    model = With(forward, layers=nn.ModuleList([shared, shared])).double()
    watch = Watch(model)
    for run in (
        lambda: call_with(model, {k: torch.zeros_like(p) for k, p in model.named_parameters()}, (x,)),
        lambda: ng.empirical_ntk(model, x),
        lambda: ng.NTKOperator(model, x),
    ):
        with pytest.raises(ZeroDivisionError):
            run()
        watch.check()


def test_tied_weights_and_buffers_of_a_module_at_two_paths(x):
    model = Functional(lambda m, x: (x @ m.a) @ m.b + m.shift, a=(3, 3))
    model.b = model.a
    model.register_buffer("shift", torch.ones(3))
    model = nn.Sequential(model, nn.Tanh(), model).double()
    assert places(model) == {"0.a": "0.a", "0.b": "0.a", "0.shift": "0.shift"}
    watch = Watch(model)
    a, shift = torch.randn(3, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    expected = torch.tanh(x @ a @ a + shift) @ a @ a + shift
    found = call_with(model, {"0.a": a, "0.shift": shift}, (x,))
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)
    watch.check()
    found = call_with(model, {"0.shift": shift}, (x,))  # the others stay the model's own
    a = model[0].a
    torch.testing.assert_close(found, torch.tanh(x @ a @ a + shift) @ a @ a + shift, rtol=EXACT, atol=EXACT)
    watch.check()


def test_the_infinite_width_of_modules_at_two_paths(x):
    with pytest.raises(ModelError, match=r"'0' \(Linear\) uses the weights of '0' \(Linear\) a second time"):
        ng.infinite_width(linear_twice()).ntk(x)

    def normalized(first, second):
        """Modules without weights may be used as often as one likes, before the first layer and after it."""
        act = nn.ReLU()
        layers = [ng.NTKLinear(3, 8), act, ng.NTKLinear(8, 8), act, ng.NTKLinear(8, 1)]
        model = nn.Sequential(nn.Sequential(first, nn.Tanh(), second), *layers)
        watch = Watch(model)
        kernel = ng.infinite_width(model).ntk(x)
        watch.check()
        return kernel

    def norm():
        layer = nn.BatchNorm1d(3, affine=False).eval()
        layer.running_mean.add_(1.0)
        return layer

    shared = norm()
    torch.testing.assert_close(normalized(shared, shared), normalized(norm(), norm()), rtol=EXACT, atol=EXACT)


def test_functions_are_followed_to_the_modules_they_were_written_with(x):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    expected = ng.empirical_ntk(model, x)
    first = model.forward
    log = []

    def forward(z, depth=0):
        log.append(depth)
        return forward(z, 1) if depth == 0 else model[2](model[1](model[0](z)))  # refers to itself, too

    for own in (forward, lambda z: first(z)):
        model.forward = own
        torch.testing.assert_close(ng.empirical_ntk(model, x), expected)
    tensors = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    assert not call_with(model, tensors, (x,)).any()
    assert set(log) == {0, 1}


def spied(module, monkeypatch):
    """Replicas of a network, and whether all its attributes were followed for it."""
    followed = []
    monkeypatch.setattr(substitution, "_Replicator", lambda *a: followed.append(1) or Replicator(*a), raising=True)
    return substitution.replicate(module), bool(followed)


Replicator = substitution._Replicator


def with_hook():
    net = nn.Sequential(nn.Linear(3, 3))
    net[0].register_forward_hook(lambda m, i, o: 2 * o)
    return net


def with_own_forward():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net.forward = lambda x: net[1](x)
    return net


class Caches(nn.Linear):
    """Keeps something from call to call."""

    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return super().forward(x)


@pytest.mark.parametrize(
    ("module", "followed"),
    [
        (linear_twice(), False),
        (ng.MLP(3, 2, 4, 1, antisymmetric=True), False),
        (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), False),
        (with_hook(), True),
        (with_own_forward(), True),
        (Caches(3, 3), True),
        (nn.LSTM(3, 3), True),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), True),
    ],
    ids=lambda m: type(m).__name__,
)
def test_known_layers_are_copied_without_following_their_attributes(module, followed, monkeypatch):
    replica, was = spied(module, monkeypatch)
    assert was is followed
    assert [type(m) for m in replica.modules()] == [type(m) for m in module.modules()]
    assert places(replica) == places(module)
    for ours, theirs in zip(replica.modules(), module.modules(), strict=True):
        assert ours is not theirs
        assert ours._parameters is not theirs._parameters
        ours.register_forward_hook(print)
        ours.register_forward_pre_hook(print, with_kwargs=True)
        ours.register_full_backward_hook(print)
        ours.register_buffer("mine", torch.zeros(1), persistent=False)
        assert not theirs._forward_hooks or followed
        assert not theirs._forward_pre_hooks_with_kwargs
        assert not theirs._backward_hooks
        assert "mine" not in dict(theirs.named_buffers(recurse=False))
        assert "mine" not in theirs._non_persistent_buffers_set
        assert all(ours._parameters[k] is p for k, p in theirs._parameters.items())
