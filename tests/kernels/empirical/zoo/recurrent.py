"""Recurrent networks: modules and cells of torch, and loops by hand."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, Constant, Net, floats, lengths, linear, net, several, tokens


def last(kind, *sizes, out=4, **options):
    return net(
        lambda m, x: m.out(m.rnn(x)[0][:, -1]),
        rnn=lambda: kind(*sizes, batch_first=True, **options),
        out=linear(out, 2),
    )


def both_ways(m, x):
    return m.out(m.rnn(x)[0].mean(1))


def all_states(m, x):
    return m.out(m.rnn(x)[0])


def sequence_first(m, x):
    return m.out(m.rnn(x.transpose(0, 1))[0][-1])


def final_state(m, x):
    _, (h, c) = m.rnn(x)
    return m.out(torch.cat([h[-1], c[-1]], 1))


def learned_start(m, x):
    h0 = m.start.expand(-1, len(x), -1).contiguous()
    return m.out(m.rnn(x, h0)[1][0])


def given_start(m, x, h0):
    return m.out(m.rnn(x, h0[None].contiguous())[1][0])


def cell(m, x):
    h = x.new_zeros(len(x), 4)
    for t in range(x.shape[1]):
        h = m.cell(x[:, t], h)
    return m.out(h)


def lstm_cell(m, x):
    state = None
    for t in range(x.shape[1]):
        state = m.cell(x[:, t], state)
    return m.out(state[0])


def by_hand(m, x):
    h = x.new_zeros(len(x), 4)
    for t in range(x.shape[1]):
        h = torch.tanh(m.inp(x[:, t]) + m.rec(h))
    return m.out(h)


def gru_by_hand(m, x):
    h = m.start.expand(len(x), -1)
    for xt in x.unbind(1):
        r, z = torch.sigmoid(m.gates(torch.cat([xt, h], 1))).chunk(2, 1)
        h = z * h + (1 - z) * torch.tanh(m.new(torch.cat([xt, r * h], 1)))
    return m.out(h)


def masked_states(m, x, mask):
    """States stop where an example ends."""
    h = x.new_zeros(len(x), 4)
    for t in range(x.shape[1]):
        h = torch.where(mask[:, t, None] > 0, torch.tanh(m.inp(x[:, t]) + m.rec(h)), h)
    return m.out(h)


def independent(m, x):
    """Every unit sees only its own past."""
    h = x.new_zeros(len(x), 4)
    for t in range(x.shape[1]):
        h = torch.relu(m.inp(x[:, t]) + m.u * h)
    return m.out(h)


def reservoir(m, x):
    h = x.new_zeros(len(x), 6)
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ m.w + h @ m.r)
    return m.out(h)


def writer(m, x):
    """A network that goes on from its own outputs."""
    h, y, outs = torch.tanh(m.encode(x)), m.first.expand(len(x), -1), []
    for _ in range(3):
        h = m.cell(y, h)
        y = m.out(h)
        outs.append(y)
    return torch.stack(outs, 1)


def quasi_recurrent(m, x):
    z, f = m.conv(F.pad(x.transpose(1, 2), (1, 0))).chunk(2, 1)
    z, f, h = torch.tanh(z), torch.sigmoid(f), 0.0
    for t in range(x.shape[1]):
        h = f[..., t] * h + (1 - f[..., t]) * z[..., t]
    return m.out(h)


def words(m, ids):
    return m.out(m.rnn(m.tok(ids))[1][0][0])


def attention_over_states(m, x):
    h = m.rnn(x)[0]
    return m.out((m.score(h).softmax(1) * h).sum(1))


def tied_layers():
    """Two recurrent layers that share all weights."""
    rnn = nn.GRU(4, 4, batch_first=True)
    return Net(lambda m, x: m.out(m.two(m.one(x)[0])[0][:, -1]), one=rnn, two=rnn, out=nn.Linear(4, 2))


LOOP = {"inp": linear(3, 4), "rec": linear(4, 4, False), "out": linear(4, 2)}

X = floats(4, 3)


CASES = [
    Case("RNN", last(nn.RNN, 3, 4), X),
    Case("RNN with ReLU", last(nn.RNN, 3, 4, nonlinearity="relu"), X),
    Case("GRU", last(nn.GRU, 3, 4), X),
    Case("LSTM", last(nn.LSTM, 3, 4), X),
    Case("LSTM without bias", last(nn.LSTM, 3, 4, bias=False), X),
    Case(
        "LSTM, bidirectional",
        net(both_ways, rnn=lambda: nn.LSTM(3, 4, batch_first=True, bidirectional=True), out=linear(8, 2)),
        X,
    ),
    Case("LSTM, two layers", last(nn.LSTM, 3, 4, num_layers=2), X),
    Case("LSTM, projected", last(nn.LSTM, 3, 5, proj_size=2, out=2), X),
    Case(
        "GRU, two layers, bidirectional",
        net(both_ways, rnn=lambda: nn.GRU(3, 2, 2, batch_first=True, bidirectional=True), out=linear(4, 2)),
        X,
    ),
    Case("LSTM, all states", net(all_states, rnn=lambda: nn.LSTM(3, 4, batch_first=True), out=linear(4, 2)), X),
    Case("LSTM, sequence first", net(sequence_first, rnn=lambda: nn.LSTM(3, 4), out=linear(4, 2)), X),
    Case("LSTM, final state", net(final_state, rnn=lambda: nn.LSTM(3, 4, batch_first=True), out=linear(8, 2)), X),
    Case(
        "GRU, learned start",
        net(learned_start, start=(1, 1, 4), rnn=lambda: nn.GRU(3, 4, batch_first=True), out=linear(4, 2)),
        X,
    ),
    Case(
        "GRU, given start",
        net(given_start, rnn=lambda: nn.GRU(3, 4, batch_first=True), out=linear(4, 2)),
        several(X, floats(4)),
    ),
    Case("GRU, weights tied over layers", tied_layers, floats(4, 4)),
    Case("RNNCell", net(cell, cell=lambda: nn.RNNCell(3, 4), out=linear(4, 2)), X),
    Case("GRUCell", net(cell, cell=lambda: nn.GRUCell(3, 4), out=linear(4, 2)), X),
    Case("LSTMCell", net(lstm_cell, cell=lambda: nn.LSTMCell(3, 4), out=linear(4, 2)), X),
    Case("loop by hand", net(by_hand, **LOOP), X),
    Case("GRU by hand", net(gru_by_hand, start=(1, 4), gates=linear(7, 8), new=linear(7, 4), out=linear(4, 2)), X),
    Case("loop with lengths", net(masked_states, **LOOP), several(x=X, mask=lengths(4))),
    Case("independent units", net(independent, inp=linear(3, 4), u=(4,), out=linear(4, 2)), X),
    Case(
        "reservoir",
        lambda: Net(
            reservoir, w=Constant(torch.randn(3, 6)), r=Constant(torch.randn(6, 6) / 3), out=nn.Linear(6, 2)
        ),
        X,
    ),
    Case(
        "writer",
        net(writer, encode=linear(3, 4), first=(1, 2), cell=lambda: nn.GRUCell(2, 4), out=linear(4, 2)),
        floats(3),
    ),
    Case("quasi-recurrent", net(quasi_recurrent, conv=lambda: nn.Conv1d(3, 8, 2), out=linear(4, 2)), X),
    Case(
        "words",
        net(words, tok=lambda: nn.Embedding(7, 3), rnn=lambda: nn.LSTM(3, 4, batch_first=True), out=linear(4, 2)),
        tokens(7, 4),
    ),
    Case(
        "attention over states",
        net(
            attention_over_states, rnn=lambda: nn.GRU(3, 4, batch_first=True), score=linear(4, 1), out=linear(4, 2)
        ),
        X,
    ),
]
