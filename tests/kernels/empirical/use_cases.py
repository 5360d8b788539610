"""Networks that use a parameter in every way there is: tied, sliced, at two paths, in loops, in place."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.modules import Case, Functional, With


def twice():
    return With(lambda m, x: m.out(torch.tanh(m.a(torch.tanh(m.a(x))))), a=nn.Linear(5, 5), out=nn.Linear(5, 2))


def tied_modules():
    a, b = nn.Linear(5, 5), nn.Linear(5, 5, bias=False)
    b.weight = a.weight
    return nn.Sequential(a, nn.Tanh(), b, nn.Tanh(), nn.Linear(5, 2))


def tied_convolutions():
    a, b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
    b.weight = a.weight
    return nn.Sequential(a, nn.Tanh(), b, nn.Flatten(), nn.Linear(75, 2))


def linear_at_two_paths():
    shared = nn.Linear(5, 5)
    return nn.Sequential(shared, nn.Tanh(), shared)


def block_at_two_paths():
    block = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.LayerNorm(5))

    def forward(m, x):
        for layer in m.blocks:
            x = x + layer(x)
        return m.out(x)

    return With(forward, blocks=nn.ModuleList([block, block]), out=nn.Linear(5, 2))


def convolution_at_two_paths():
    shared = nn.Conv2d(2, 2, 3, padding=1)
    return nn.Sequential(shared, nn.Tanh(), shared, nn.Flatten(), nn.Linear(32, 2))


def normalization_at_two_paths():
    shared = nn.BatchNorm1d(5).eval()
    return nn.Sequential(nn.Linear(5, 5), shared, nn.Tanh(), nn.Linear(5, 5), shared, nn.Tanh(), nn.Linear(5, 2))


def autoencoder():
    return Functional(lambda m, x: torch.tanh(x @ m.w) @ m.w.t() + m.b, w=(5, 3), b=(5,))


def autoencoder_linear():
    return Functional(lambda m, x: F.linear(torch.tanh(F.linear(x, m.w)), m.w.T), w=(3, 5))


def language_model():
    def forward(m, x):
        h = m.table(x) + m.place
        return F.linear(m.mix(h).tanh().mean(1), m.table.weight)

    model = With(forward, table=nn.Embedding(7, 4), mix=nn.Linear(4, 4))
    model.place = nn.Parameter(torch.randn(5, 4))
    return model


def recurrent():
    def forward(m, x):
        h = torch.zeros(x.shape[0], 4, dtype=x.dtype)
        for t in range(x.shape[1]):
            h = torch.tanh(m.inp(x[:, t]) + m.rec(h))
        return m.out(h)

    return With(forward, inp=nn.Linear(3, 4), rec=nn.Linear(4, 4, bias=False), out=nn.Linear(4, 2))


def learned_start():
    def forward(m, x):
        h = m.start.expand(x.shape[0], -1)
        for t in range(x.shape[1]):
            h = torch.tanh(m.cell(torch.cat([x[:, t], h], 1)))
        return h

    model = With(forward, cell=nn.Linear(5, 2))
    model.start = nn.Parameter(torch.randn(1, 2))
    return model


def class_token():
    def forward(m, x):
        x = torch.cat([m.token.repeat(x.shape[0], 1, 1), m.embed(x)], 1) + m.place
        return m.head(m.block(x)[:, 0])

    block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    model = With(forward, embed=nn.Linear(3, 4), block=block, head=nn.Linear(4, 2))
    model.token = nn.Parameter(torch.randn(1, 1, 4))
    model.place = nn.Parameter(torch.randn(1, 6, 4))
    return model


def attention(**options):
    def forward(m, x):
        return m.out(m.mha(x, x, x, need_weights=False)[0].flatten(1))

    return lambda: With(
        forward, mha=nn.MultiheadAttention(4, 2, batch_first=True, **options), out=nn.Linear(12, 2)
    )


def cross_attention():
    def forward(m, x):
        y = m.inner(x)
        return m.mha(x, y, torch.tanh(y))[0].mean(1)

    return With(forward, inner=nn.Linear(4, 4), mha=nn.MultiheadAttention(4, 2, batch_first=True))


def sequence_first_attention():
    def forward(m, x):
        y = x.transpose(0, 1)
        return m.mha(y, y, y)[0].mean(0)

    return With(forward, mha=nn.MultiheadAttention(4, 2))


def residual():
    def forward(m, x):
        h = m.a(x)
        h = h + m.b(torch.relu(h))
        return m.out(torch.cat([h, x, m.a(-x)], 1))

    return With(forward, a=nn.Linear(4, 4), b=nn.Linear(4, 4), out=nn.Linear(12, 2))


def gated():
    def forward(m, x):
        value, gate = m.both(x).chunk(2, -1)
        return value * torch.sigmoid(gate * m.sharpness)

    model = With(forward, both=nn.Linear(4, 6))
    model.sharpness = nn.Parameter(torch.randn(3))
    return model


def chunked_weight():
    def forward(m, x):
        a, b = m.w.chunk(2)
        return F.linear(torch.tanh(F.linear(x, a)), b)

    return Functional(forward, w=(8, 4))


def overlapping_slices():
    return Functional(lambda m, x: F.linear(x, m.w[:3]) * torch.tanh(F.linear(x, m.w[1:4])), w=(5, 4))


def squeezed():
    return With(lambda m, x: m.out(torch.tanh(m.a(x))).squeeze(-1), a=nn.Linear(4, 6), out=nn.Linear(6, 1))


def windows():
    """Examples cut into windows: the layer sees n·4 rows."""

    def forward(m, x):
        h = m.a(x.reshape(-1, 3)).tanh()
        return m.out(h.reshape(x.shape[0], -1))

    return With(forward, a=nn.Linear(3, 2), out=nn.Linear(8, 2))


def position_major():
    """Rows ordered by position first, example second."""

    def forward(m, x):
        n, t, d = x.shape
        h = m.a(x.transpose(0, 1).reshape(t * n, d)).tanh()
        return h.view(t, n, -1).sum(0)

    return With(forward, a=nn.Linear(3, 2))


def weight_norm():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 2))


def spectral_norm():
    return nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5)).eval(), nn.Tanh(), nn.Linear(5, 2)
    )


def einsum():
    return Functional(lambda m, x: torch.einsum("nd,hdo->no", x, m.w).tanh() @ m.v, w=(2, 4, 3), v=(3, 2))


def frozen():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2))
    model[2].requires_grad_(False)
    model[4].weight.requires_grad_(False)
    return model


def in_place():
    def forward(m, x):
        h = m.a(x).sin_()
        h += m.shift
        h.relu_()
        h = m.b(h)
        h[:, 1] *= 2.0
        return h

    model = With(forward, a=nn.Linear(4, 5), b=nn.Linear(5, 3))
    model.shift = nn.Parameter(torch.randn(5))
    return model


def unused():
    return With(lambda m, x: m.a(x), a=nn.Linear(4, 2), b=nn.Linear(3, 3))


def lstm(kind=nn.LSTM):
    return lambda: With(
        lambda m, x: m.out(m.rnn(x)[0][:, -1]), rnn=kind(3, 4, batch_first=True), out=nn.Linear(4, 2)
    )


def recurrent_at_two_paths():
    rnn = nn.RNN(4, 4, batch_first=True)
    return With(lambda m, x: m.out(m.second(m.first(x)[0])[0][:, -1]), first=rnn, second=rnn, out=nn.Linear(4, 2))


def mixer():
    return Functional(lambda m, x: (m.w @ x).tanh().mean(2) @ m.v, w=(4, 5), v=(4, 2))


def scaled():
    def forward(m, x):
        return F.linear(torch.tanh(F.linear(x, 0.7 * m.w, m.b / 3.0)), -m.v, m.c * 2)

    return Functional(forward, w=(6, 4), b=(6,), v=(3, 6), c=(3,))


def scalar_scale():
    return Functional(lambda m, x: m.s * torch.tanh(x - m.b) + m.c, s=(), b=(4,), c=(1, 4))


def branch_on_data():
    def forward(m, x):
        return m.b(m.a(x)) if x[0, 0] > 100 else m.a(x)

    return With(forward, a=nn.Linear(4, 4), b=nn.Linear(4, 4))


USES = [
    Case(
        "raw parameters",
        lambda: Functional(lambda m, x: torch.tanh(x * m.a + m.b) @ m.w - m.c, a=(4,), b=(1, 4), w=(4, 2), c=(2,)),
        (4,),
    ),
    Case("scalar parameter", scalar_scale, (4,)),
    Case("scaled parameters", scaled, (4,)),
    Case("weight on the left", mixer, (5, 3)),
    Case("module twice", twice, (5,)),
    Case("tied linears", tied_modules, (5,)),
    Case("tied convolutions", tied_convolutions, (3, 5, 5)),
    # torch.func.functional_call spoils modules at two paths: the reference is the model itself.
    Case("linear at two paths", linear_at_two_paths, (5,), rows=True),
    Case("block at two paths", block_at_two_paths, (5,), rows=True),
    Case("convolution at two paths", convolution_at_two_paths, (2, 4, 4), rows=True),
    Case("batch norm at two paths", normalization_at_two_paths, (5,), rows=True),
    Case("recurrent at two paths", recurrent_at_two_paths, (3, 4), rows=True),
    Case("tied transpose matmul", autoencoder, (5,)),
    Case("tied transpose linear", autoencoder_linear, (5,)),
    Case("tied embedding", language_model, (5,), tokens=7),
    Case("recurrent loop", recurrent, (4, 3)),
    Case("learned start", learned_start, (4, 3)),
    Case("attention", attention(), (3, 4)),
    Case("attention no bias", attention(bias=False), (3, 4)),
    Case("cross attention", cross_attention, (3, 4)),
    Case("sequence-first attention", sequence_first_attention, (3, 4)),
    Case("attention bias kv", attention(add_bias_kv=True), (3, 4)),
    Case("transformer with class token", class_token, (5, 3)),
    Case("residual and concatenated", residual, (4,)),
    Case("gated", gated, (4,)),
    Case("chunked weight", chunked_weight, (4,)),
    Case("overlapping slices", overlapping_slices, (4,)),
    Case("outputs [n]", squeezed, (4,)),
    Case("windows", windows, (4, 3)),
    Case("position-major rows", position_major, (4, 3)),
    Case("weight norm", weight_norm, (4,)),
    Case("spectral norm", spectral_norm, (4,)),
    Case("einsum", einsum, (4,)),
    Case("in place", in_place, (4,)),
    Case("unused parameters", unused, (4,)),
    Case("frozen", frozen, (4,)),
    Case("named subset", twice, (5,), parameters=["a.weight", "out.bias"]),
    Case("filtered subset", tied_modules, (5,), parameters=lambda name, p: p.ndim == 1),
    Case("lstm", lstm(), (3, 3), rows=True),
    Case("gru", lstm(nn.GRU), (3, 3), rows=True),
    Case("branch on data", branch_on_data, (4,), rows=True),
    Case("no features", lambda: nn.Sequential(nn.Linear(0, 4), nn.Tanh(), nn.Linear(4, 2)), (0,)),
    Case("one output", lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), (2, 2)),
]
