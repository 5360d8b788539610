"""Recurrent layers: against dense matrices over times, iterated to their fixed point, and against networks."""

import pytest
import torch
from torch import Tensor, nn

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.models import NTKLinear
from tests.kernels.infinite.finite_networks import assert_converges
from tests.kernels.infinite.reference import Points
from tests.tolerances import EXACT

TIMES, FEATURES, WIDTH = 4, 3, 60
X = torch.randn(3, TIMES, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
STD = 1 / (3 * WIDTH)  # variance of U(±1/√width), torch's default for all weights and biases


class Recurrent(nn.Module):
    """A recurrent layer, what is read off it, and a readout."""

    def __init__(self, read, width: int = WIDTH, outputs: int = 4, **options) -> None:
        super().__init__()
        options = {"batch_first": True, "nonlinearity": "relu"} | options
        self.rnn, self.read = nn.RNN(FEATURES, width, **options), read
        size = width * (2 if options.get("bidirectional") else 1)
        self.out = NTKLinear(size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.read(self, x))


READINGS = {
    "last": lambda m, x: m.rnn(x)[0][:, -1],
    "last, all axes": lambda m, x: m.rnn(x)[0][:, -1, :],
    "state": lambda m, x: m.rnn(x)[1][-1],
    "state, squeezed": lambda m, x: m.rnn(x)[1].squeeze(0),
    "unpacked": lambda m, x: (lambda out, state: state[0])(*m.rnn(x)),
    "from zero": lambda m, x: m.rnn(x, x.new_zeros(1, x.size(0), WIDTH))[1][0],
}
TIME_FIRST = {
    "last": lambda m, x: m.rnn(x.transpose(0, 1))[0][-1],
    "state": lambda m, x: m.rnn(x.transpose(0, 1))[1][-1],
    "turned back": lambda m, x: m.rnn(x.permute(1, 0, 2))[0].transpose(0, 1)[:, -1],
}


def layer(x: Points, fan_in: int, bias: bool = True, backward: bool = False) -> Points:
    """Start from h = 0 and put h in until it no longer changes, which takes as many rounds as there are times."""
    step = torch.diag(torch.ones(TIMES - 1, dtype=torch.float64), 1 if backward else -1)  # t from t − 1
    shift, learned = (2 * STD, 2.0) if bias else (0.0, 0.0)
    h = Points(0 * x.nngp, 0 * x.ntk, x.n)
    for _ in range(TIMES):
        fresh = x.layer(fan_in * STD, shift, fan_in, learned)
        h = fresh.plus(h.mapped(step).layer(WIDTH * STD, 0.0, WIDTH, 0.0)).relu()
    return h


def at(points: Points, time: int) -> Points:
    return points.mapped(torch.eye(TIMES, dtype=torch.float64)[[time]])


def assert_same(model: nn.Module, expected: Points, x: Tensor = X) -> None:
    found = ng.infinite_width(model.double()).kernels(x)
    torch.testing.assert_close(found.nngp, expected.nngp, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(found.ntk, expected.ntk, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("name", READINGS)
def test_the_last_state_in_every_spelling(name):
    expected = at(layer(Points.of(X), FEATURES), -1).layer(1.0)
    assert_same(Recurrent(READINGS[name]), expected)


@pytest.mark.parametrize("name", TIME_FIRST)
def test_time_first(name):
    expected = at(layer(Points.of(X), FEATURES), -1).layer(1.0)
    assert_same(Recurrent(TIME_FIRST[name], batch_first=False), expected)


def test_all_times():
    states = layer(Points.of(X), FEATURES)
    assert_same(Recurrent(lambda m, x: m.rnn(x)[0].mean(1)), states.mean().layer(1.0))
    by_time = Recurrent(lambda m, x: m.rnn(x.movedim(1, 0))[0].mean(0), batch_first=False)
    assert_same(by_time, states.mean().layer(1.0))
    unbiased = Recurrent(lambda m, x: m.rnn(x)[0].mean(1), bias=False)
    assert_same(unbiased, layer(Points.of(X), FEATURES, bias=False).mean().layer(1.0))


def test_several_layers_and_both_directions():
    first = layer(Points.of(X), FEATURES)
    assert_same(Recurrent(READINGS["last"], num_layers=2), at(layer(first, WIDTH), -1).layer(1.0))
    assert_same(Recurrent(lambda m, x: m.rnn(x)[1][0], num_layers=2), at(first, -1).layer(1.0))

    def halves(a: Points, b: Points) -> Points:
        return Points((a.nngp + b.nngp) / 2, (a.ntk + b.ntk) / 2, a.n)

    back = layer(Points.of(X), FEATURES, backward=True)
    together = Recurrent(lambda m, x: m.rnn(x)[0].mean(1), bidirectional=True)
    assert_same(together, halves(first, back).mean().layer(1.0))
    both = lambda m, x: (lambda out, h: torch.cat([h[-2], h[-1]], 1))(*m.rnn(x))  # noqa: E731
    assert_same(Recurrent(both, bidirectional=True), halves(at(first, -1), at(back, 0)).layer(1.0))
    second = [layer(halves(first, back), 2 * WIDTH, backward=b) for b in (False, True)]
    deep = Recurrent(lambda m, x: m.rnn(x)[0].mean(1), bidirectional=True, num_layers=2)
    assert_same(deep, halves(*second).mean().layer(1.0))


def test_gradients_and_pairs_of_other_inputs():
    limit = ng.infinite_width(Recurrent(lambda m, x: m.rnn(x)[0].mean(1), nonlinearity="tanh").double())
    whole = limit.ntk(X)
    torch.testing.assert_close(limit.ntk(X[:1], X[1:]), whole[:1, 1:], rtol=1e-8, atol=EXACT)
    torch.testing.assert_close(limit.ntk(X, diagonal=True), whole.diagonal(), rtol=EXACT, atol=EXACT)
    relu = ng.infinite_width(Recurrent(lambda m, x: m.rnn(x)[0].mean(1)).double())
    inputs = X[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: relu.ntk(a), (inputs,), atol=1e-6)


class Words(nn.Module):
    """Embedded tokens through two recurrent layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(7, width), NTKLinear(width, 2)
        self.rnn = nn.RNN(width, width, num_layers=2, batch_first=True)
        for name, parameter in self.rnn.named_parameters():
            if "weight" in name:
                nn.init.normal_(parameter, std=width**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.rnn(self.words(ids))[0].mean(1))


def test_finite_networks_converge_to_the_limit():
    assert_converges(lambda w: Recurrent(READINGS["last"], w, 2, nonlinearity="tanh"), X, 16)
    assert_converges(Words, torch.randint(0, 7, (4, 4), generator=torch.Generator().manual_seed(1)), 32)


REFUSED = {
    "batch first by mistake": (
        Recurrent(lambda m, x: m.rnn(x)[0][-1], batch_first=False),
        r"'rnn' \(RNN\) takes \[T, n, features\] with batch_first=False",
    ),
    "time first by mistake": (
        Recurrent(lambda m, x: m.rnn(x.transpose(0, 1))[0][-1]),
        r"takes \[n, T, features\] with batch_first=True",
    ),
    "a state to start from": (
        Recurrent(lambda m, x: m.rnn(x, x.new_ones(1, x.size(0), WIDTH))[1][0]),
        r"starts from a state that is not zero",
    ),
    "all states": (Recurrent(lambda m, x: m.rnn(x)[1].mean(0), num_layers=2), r"acts on the last states of all"),
    "twice": (
        Recurrent(lambda m, x: m.rnn(m.rnn(x)[0].mean(1, keepdim=True))[0]),
        r"cannot be followed|second time",
    ),
    "a nonlinearity": (Recurrent(lambda m, x: torch.relu(m.rnn(x)[1][-1])), r"not Gaussian"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_followed_is_refused(name):
    model, words = REFUSED[name]
    with pytest.raises(ModelError, match=words):
        ng.infinite_width(model.double()).ntk(X)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_gates_are_refused(kind):
    model = Recurrent(READINGS["last"])
    model.rnn = kind(FEATURES, WIDTH, batch_first=True)
    with pytest.raises(ModelError, match=r"in gates that are multiplied.* infinite_width_monte_carlo"):
        ng.infinite_width(model.double()).ntk(X)


def test_loops_over_time_are_pointed_to_the_layer():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = nn.RNNCell(FEATURES, WIDTH), NTKLinear(WIDTH, 1)

        def forward(self, x):
            h = None
            for t in range(x.shape[1]):
                h = self.cell(x[:, t], h)
            return self.out(h)

    with pytest.raises(ModelError, match=r"RNNCell\) uses its weights again .* nn.RNN is followed"):
        ng.infinite_width(Loop()).ntk(X)
