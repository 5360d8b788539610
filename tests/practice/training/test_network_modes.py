"""Batch statistics and random masks: one policy, in training, ensembles, Laplace and kernels."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.data import Dataset
from ntkgap.errors import ModelError, StudyError
from ntkgap.models import NTKConv2d
from ntkgap.practice.training.network_modes import evaluation_mode, modes_differ, refuse_dependence, training_mode
from tests.practice.continual.made import FEATURES, OUTPUTS, stream
from tests.practice.training.modal import NETWORKS, both, data, dropping, normalized, untouched
from tests.tolerances import EXACT, ITERATED


class Hidden(nn.Module):
    """Drops, normalizes or counts in ways that no type of module tells."""

    def __init__(self, how):
        super().__init__()
        self.how, self.inner = how, nn.Linear(FEATURES, OUTPUTS)
        self.register_buffer("mean", torch.zeros(OUTPUTS))

    def forward(self, x):
        h = self.inner(x)
        if self.how == "dropout":
            return F.dropout(h, 0.5, self.training)
        if self.how == "always":
            return F.dropout(h, 0.5)
        if self.how == "centered":
            return h - h.mean(0)
        if self.how == "running" and self.training:
            self.mean += 0.1 * (h.detach().mean(0) - self.mean)
        return h - self.mean


def hidden(how):
    torch.manual_seed(0)
    return Hidden(how).double()


def test_modes_are_given_back_and_parts_keep_their_own():
    network = both()
    network[1].eval()
    with training_mode(network):
        assert [m.training for m in network] == [True, False, True, True, True]
    with evaluation_mode(network):
        assert not any(m.training for m in network.modules())
    assert [m.training for m in network] == [True, False, True, True, True]
    network.eval()
    with training_mode(network):
        assert all(m.training for m in network.modules())
    assert not any(m.training for m in network.modules())


@pytest.mark.parametrize(
    ("network", "differ"),
    [
        (normalized(), True),
        (dropping(), True),
        (hidden("dropout"), True),
        (hidden("running"), True),
        (hidden("none"), False),
        (nn.Sequential(nn.Linear(FEATURES, 3), nn.GroupNorm(1, 3), nn.Dropout(0.0)).double(), False),
        (nn.LSTM(FEATURES, 3, 2, dropout=0.5).double(), True),
    ],
    ids=["batch norm", "dropout", "functional", "own buffer", "none", "group norm", "lstm"],
)
def test_whether_the_modes_differ_is_seen(network, differ):
    before = copy.deepcopy(network.state_dict())
    assert untouched(lambda: modes_differ(network, data().x)) is differ
    network.eval()
    assert modes_differ(network, data().x) is differ  # such a network is trained in train mode
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("how", ["always", "centered"])
def test_what_depends_on_other_points_or_chance_is_refused_by_all(how):
    network, words = hidden(how), "depends on the other points of the call, or on chance"
    with pytest.raises(ModelError, match=words):
        untouched(lambda: refuse_dependence(network, data().x))
    with pytest.raises(ModelError, match=words):
        ng.train(network, data(), learning_rate=0.1, steps=1)
    with pytest.raises(ModelError, match=words):
        ng.train_ensemble(lambda i: hidden(how), data(), 2, learning_rate=0.1, steps=1, inputs=data().x)
    with pytest.raises(ModelError, match=words):
        ng.continual.train_tasks([network], stream(), learning_rate=0.1, stop=ng.continual.Steps(1))
    bare = nn.Sequential(nn.Linear(FEATURES, 2), nn.BatchNorm1d(2, track_running_stats=False)).double()
    with pytest.raises(ModelError, match=r"'1' \(BatchNorm1d\) keeps no running statistics"):
        ng.train(bare, data(), learning_rate=0.1, steps=1)


def test_dropout_draws_the_masks_of_its_seed_in_train_mode_alone():
    def trained(seed, p=0.4):
        network = dropping()
        network[2].p = p
        settings = {"learning_rate": 0.1, "steps": 8, "optimizer": "sgd"}
        curve = untouched(
            lambda: ng.train(network, data(), generator=torch.Generator().manual_seed(seed), **settings)
        )
        return network, curve

    one, again, other, whole = trained(1), trained(1), trained(2), trained(1, p=0.0)
    assert one[1] == again[1]
    assert one[1].losses[0] == other[1].losses[0] == whole[1].losses[0]  # no masks where losses are recorded
    assert one[1].losses[-1] != other[1].losses[-1]
    assert one[1].losses[-1] != whole[1].losses[-1]
    one[0].eval()
    expected = 0.5 * (one[0](data().x) - data().y).square().sum()
    assert one[1].losses[-1] == pytest.approx(expected.item(), rel=EXACT)


def test_a_part_in_evaluation_mode_stays_so():
    network = normalized()
    network[1].eval()
    ng.train(network, data(), learning_rate=0.1, steps=5)
    assert network[1].num_batches_tracked == 0
    assert not network[1].training
    assert network.training


def test_a_network_in_evaluation_mode_is_trained_in_train_mode_and_given_back():
    asleep, awake = normalized().eval(), normalized()
    for network in (asleep, awake):
        ng.train(network, data(), learning_rate=0.1, steps=5)
    assert asleep[1].num_batches_tracked == 5
    assert torch.equal(asleep[0].weight, awake[0].weight)
    assert not any(module.training for module in asleep.modules())


def test_a_batch_of_one_example_has_no_statistics():
    settings = {"learning_rate": 0.1, "steps": 9, "optimizer": "sgd", "batch_size": 11}
    with pytest.raises(StudyError, match=r"single example.*keep_last=False"):
        ng.train(normalized(), data(), **settings)
    ng.train(normalized(), data(), keep_last=False, **settings)


@NETWORKS
def test_members_are_those_trained_alone_and_say_the_same_at_any_points(build):
    inputs = data(6, seed=1).x
    settings = {"learning_rate": 0.05, "steps": 7}

    def run(k, members=3, **more):
        return untouched(
            lambda: ng.train_ensemble(build, data(), members, inputs=inputs[k], **settings, **more).outputs[:, 0]
        )

    whole = run(slice(None))
    torch.testing.assert_close(run(slice(0, 2)), whole[:, :2], rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(run(slice(4, 5), together=2), whole[:, 4:5], rtol=EXACT, atol=EXACT)
    for i in range(3):
        alone = build(i)
        ng.train(alone, data(), generator=torch.Generator().manual_seed(i), **settings)
        torch.testing.assert_close(whole[i], alone.eval()(inputs).detach(), rtol=ITERATED, atol=ITERATED)


def test_a_network_that_vmap_cannot_follow_goes_one_by_one():
    class Branching(nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.inner = nn.Linear(FEATURES, OUTPUTS).double()

        def forward(self, x):
            return self.inner(x) if bool(self.inner.weight.sum() > 1e9) else 2 * self.inner(x)

    found = ng.train_ensemble(Branching, data(), 2, learning_rate=0.01, steps=3, inputs=data().x)
    for i in range(2):
        alone = Branching(i)
        ng.train(alone, data(), learning_rate=0.01, steps=3)
        torch.testing.assert_close(found.outputs[i, 0], alone(data().x).detach(), rtol=EXACT, atol=EXACT)


def test_laplace_is_about_the_network_in_evaluation_mode():
    network = normalized()
    ng.train(network, data(), learning_rate=0.05, steps=10)
    assert network.training
    training = ng.LinearizedLaplace(network, data()).predict(data().x[:3])
    few = ng.LinearizedLaplace(network, data()).predict(data().x[:1])
    torch.testing.assert_close(training.std[:1], few.std, rtol=ITERATED, atol=0)
    assert network.training
    asked = ng.LinearizedLaplace(network.eval(), data()).predict(data().x[:3])
    torch.testing.assert_close(training.std, asked.std, rtol=EXACT, atol=0)
    torch.testing.assert_close(training.network_mean, network(data().x[:3]).detach(), rtol=EXACT, atol=EXACT)


def test_online_laplace_trains_with_masks_and_asks_without():
    one, two = both(), both()
    found = [
        untouched(
            lambda n=n: ng.practice.online_laplace(
                n, data(), likelihood="gaussian", learning_rate=0.02, steps=6, every=3
            )
        )
        for n in (one, two)
    ]
    assert found[0].curve == found[1].curve
    assert one[1].num_batches_tracked == 6
    one.eval()
    expected = 0.5 * (one(data().x) - data().y).square().sum()
    assert found[0].curve.losses[-1] == pytest.approx(expected.item(), rel=EXACT)


@NETWORKS
@pytest.mark.parametrize(
    "call",
    [
        lambda network: ng.empirical_ntk(network, data().x),
        lambda network: ng.linearize(network),
        lambda network: ng.optimizers.natural_gradient_descent(
            network, data(), learning_rate=0.5, steps=1, damping=0.1
        ),
        lambda network: ng.optimizers.natural_gradient_descent(
            network, data(), learning_rate=0.5, steps=1, damping=0.1, solver="conjugate_gradients"
        ),
        lambda network: ng.optimizers.kfac_descent(network, data(), learning_rate=0.5, steps=1, damping=0.1),
        lambda network: ng.optimizers.search_jacobian_change(network, data().x, 0.1, starts=1, steps=1),
    ],
    ids=["kernel", "linearize", "natural gradient", "matrix-free", "k-fac", "jacobian search"],
)
def test_what_needs_a_jacobian_refuses_train_mode_by_name(build, call):
    with pytest.raises(ModelError, match=r"'\d' \((BatchNorm1d|Dropout)\) .*model\.eval\(\)"):
        call(build())


@NETWORKS
def test_in_evaluation_mode_it_is_all_there(build):
    network = build()
    ng.train(network, data(), learning_rate=0.05, steps=5)
    network.eval()
    kernel = ng.empirical_ntk(network, data().x)
    torch.testing.assert_close(ng.empirical_ntk(network, data().x[:2]), kernel[:2, :2], rtol=EXACT, atol=EXACT)
    linearized = ng.linearize(network)
    torch.testing.assert_close(linearized(data().x), network(data().x), rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(linearized(data().x), linearized(data().x), rtol=0, atol=0)
    curve = ng.optimizers.natural_gradient_descent(network, data(), learning_rate=0.5, steps=2, damping=0.1)
    assert curve.losses[-1] < curve.losses[0]
    # The linearized model has no batch statistics: it is trained as any network, also in its train mode.
    ng.train(linearized.train(), data(), learning_rate=0.01, steps=2)


def test_narrow_shortcuts_of_ones_own_that_onednn_gets_wrong_are_refused(monkeypatch, generator):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")

    def train(channels, layout, convolution=nn.Conv2d, **changes):
        layer = convolution(channels, 2, 1, **({"stride": 2} | changes))
        network = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        # Empty ones are made in that layout even where a single channel makes both layouts contiguous.
        x = torch.empty(4, channels, 6, 6, memory_format=layout).normal_(generator=generator)
        ng.train(network, Dataset(x, torch.zeros(4, 2)), learning_rate=0.1, steps=0)

    for channels in (1, 7):
        with pytest.raises(ModelError, match=rf"'0' is a 1x1 convolution .* of {channels} channels and its input"):
            train(channels, torch.channels_last)
        train(channels, torch.contiguous_format)
    train(8, torch.channels_last)
    train(4, torch.channels_last, stride=1)
    train(4, torch.channels_last, NTKConv2d)
    lasting = nn.Conv2d(4, 2, 1, stride=2).to(memory_format=torch.channels_last)
    with pytest.raises(ModelError, match="and its weight lies channels last"):
        refuse_dependence(lasting, torch.randn(4, 4, 6, 6, generator=generator))
    assert not lasting._forward_pre_hooks
