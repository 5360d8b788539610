"""The device that other tests of this folder trust."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, jvp, vmap

from tests.sim_device import with_memory, without_float64


def test_numbers_are_the_cpus(sim):
    x = torch.randn(5, 3)
    y = x.to(sim)
    assert str(y.device) == "sim:0"
    assert (y @ y.mT).cpu().equal(x @ x.mT)
    assert torch.linalg.eigvalsh((y.mT @ y).double()).cpu().equal(torch.linalg.eigvalsh((x.mT @ x).double()))
    assert y.sum().item() == x.sum().item()


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, y: x + y,
        lambda x, y: x @ y.mT,
        lambda x, y: torch.cat([x, y]),
        lambda x, y: torch.where(x > 0, y, 0.0),
        lambda x, y: x.copy_(x).addcmul_(x, y),
        lambda x, y: torch.nn.functional.mse_loss(x, y),
        lambda x, y: x.index_add(0, torch.tensor([0]), x[:1]),
        lambda x, y: torch.randn(3, generator=torch.Generator(), device=x.device),
        lambda x, y: torch.add(x, x, out=y),
    ],
)
def test_refuses_to_be_mixed(sim, mix):
    y = torch.randn(2, 3)
    with pytest.raises(RuntimeError, match="device"):
        mix(y.to(sim), y)


def test_has_no_numpy(sim):
    with pytest.raises(TypeError, match="can't convert sim:0"):
        torch.zeros(2, device=sim).numpy()


def test_takes_numbers_and_indices_of_the_cpu(sim):
    y = torch.arange(4.0).to(sim)
    assert (y * torch.tensor(2.0)).cpu().tolist() == [0, 2, 4, 6]
    assert y[torch.tensor([3, 1])].cpu().tolist() == [3, 1]
    y[torch.tensor([0])] = 7.0
    assert y.tolist() == [7, 1, 2, 3]


def test_views_share_memory(sim):
    y = torch.zeros(2, 3, device=sim)
    row = y.mT[1]
    row += 1
    y[0, 2] = 5
    assert y.tolist() == [[0, 1, 5], [0, 1, 0]]
    row.unsqueeze_(0)
    assert row.shape == (1, 2)
    square = torch.tensor([[0, 1], [2, 3]], device=sim)
    square.transpose_(0, 1)
    assert square.tolist() == [[0, 2], [1, 3]]
    found = torch.empty(0, device=sim)
    torch.add(y, 1, out=found)
    assert found.shape == (2, 3)


NETWORKS = {
    "dense": (lambda: nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.LayerNorm(5), nn.Linear(5, 2)), (4, 3)),
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
        (4, 2, 4, 4),
    ),
    "batch norm": (lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.Flatten()), (4, 2, 5)),
    "lstm": (lambda: nn.LSTM(3, 4, batch_first=True), (4, 5, 3)),
    "gru": (lambda: nn.GRU(3, 4), (5, 4, 3)),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), (4, 5, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_cpus_gradients(sim, name):
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    net, x = build(), torch.randn(shape)
    replica, y = copy.deepcopy(net).to(sim), x.to(sim)

    def loss(network, inputs):
        out = network(inputs)
        return (out[0] if isinstance(out, tuple) else out).square().sum()

    loss(net, x).backward()
    loss(replica, y).backward()
    assert all(p.device == sim for p in replica.parameters())
    for p, q in zip(net.parameters(), replica.parameters(), strict=True):
        torch.testing.assert_close(q.grad.cpu(), p.grad)


def test_works_under_torch_func(sim):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), torch.randn(4, 3)

    def jacobian(network, inputs):
        p = {k: v.detach() for k, v in network.named_parameters()}

        def f(p, x):
            return functional_call(network, p, (x[None],))[0]

        tangent = jvp(lambda p: functional_call(network, p, (inputs,)), (p,), (p,))[1]
        return vmap(jacrev(f), (None, 0))(p, inputs)["0.weight"], tangent

    expected, found = jacobian(net, x), jacobian(copy.deepcopy(net).to(sim), x.to(sim))
    for a, b in zip(expected, found, strict=True):
        assert b.device == sim
        torch.testing.assert_close(b.cpu(), a)


def test_can_lack_float64_and_memory(sim):
    y = torch.zeros(100, device=sim)
    with without_float64(), pytest.raises(TypeError, match="float64"):
        y.double()
    with with_memory(1000), pytest.raises(torch.OutOfMemoryError):
        y[:, None] + y
    assert y.double().dtype == torch.float64
