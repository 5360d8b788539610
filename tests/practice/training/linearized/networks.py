"""Networks whose derivative cannot be had in just any way, with the route that is expected for each."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from tests.kernels.empirical.modules import Functional, With

FORWARD = "forward mode"
WRITTEN_OUT = "forward mode, fused functions written out"
DOUBLE = "double backward"
ROWS = "reverse mode, one output at a time"


@dataclass
class Hard:
    """A network, inputs [4, ...] or a tree of them, and the routes in single and in double precision."""

    build: object
    shape: tuple = (4,)
    route: str = DOUBLE
    double: str = ""  # where it is another one in double precision
    tokens: int = 0
    mode: bool = False  # train mode
    kernel: bool = True  # whether to ask empirical_ntk, or multiply Jacobians out

    def model(self, dtype=torch.float64):
        torch.manual_seed(0)
        model = self.build().double().train(self.mode)
        with torch.no_grad():
            for p in model.parameters():
                if p.is_floating_point():
                    p += 0.1 * torch.randn_like(p)
        return model.to(dtype)

    def inputs(self, dtype=torch.float64, seed=1):
        g = torch.Generator().manual_seed(seed)
        if self.tokens:
            return torch.randint(self.tokens, (4, *self.shape), generator=g)
        return torch.randn(4, *self.shape, generator=g, dtype=torch.float64).to(dtype)

    def expected(self, dtype):
        return self.double or self.route if dtype == torch.float64 else self.route


class Relu(torch.autograd.Function):
    """The old form: no forward mode."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        return g * (ctx.saved_tensors[0] > 0)


class ReluOnce(Relu):
    """A backward pass that claims to be constant: double backward gives wrong numbers without a word."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g * (ctx.saved_tensors[0] > 0)


class Sine(torch.autograd.Function):
    """The new form, with a forward mode of its own."""

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()

    @staticmethod
    def jvp(ctx, t):
        return t * ctx.saved_tensors[0].cos()


class WrongForwardMode(Sine):
    """Forward mode that forgets a factor."""

    @staticmethod
    def jvp(ctx, t):
        return 0.5 * t * ctx.saved_tensors[0].cos()


def between(middle, wide=8, out=2):
    """A linear layer, something, a linear layer."""
    return lambda: With(lambda m, x: m.b(middle(m.a(x))), a=nn.Linear(4, 8), b=nn.Linear(wide, out))


def without_gradient(h):
    with torch.no_grad():
        s = h.norm(dim=1, keepdim=True)
    return torch.tanh(h) / s


def attention(**options):
    def forward(m, x):
        q, k, v = m.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return m.out(F.scaled_dot_product_attention(q, k, v, **options).transpose(1, 2).flatten(1))

    return lambda: With(forward, qkv=nn.Linear(8, 24), out=nn.Linear(40, 2))


def grouped_attention():
    def forward(m, x):
        q = m.q(x).unflatten(-1, (4, 2)).transpose(1, 2)
        k, v = m.kv(x).unflatten(-1, (2, 2, 2)).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return m.out(h.transpose(1, 2).flatten(1))

    return With(forward, q=nn.Linear(8, 8), kv=nn.Linear(8, 8), out=nn.Linear(40, 2))


def encoder(layers=1, **options):
    def build():
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, **options)
        return nn.Sequential(nn.TransformerEncoder(layer, layers), nn.Flatten(), nn.Linear(40, 2))

    return build


def padded_encoder():
    def forward(m, tokens):
        h = m.encoder(m.table(tokens), src_key_padding_mask=tokens == 0)
        return m.out(h[:, 0])

    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return With(forward, table=nn.Embedding(9, 8), encoder=nn.TransformerEncoder(layer, 2), out=nn.Linear(8, 2))


def decoder():
    def forward(m, x):
        return m.out(m.layer(x, torch.tanh(x)).flatten(1))

    layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return With(forward, layer=layer, out=nn.Linear(40, 2))


def recurrent(kind, **options):
    def build():
        rnn = kind(8, 6, batch_first=True, **options)
        width = rnn(torch.zeros(1, 1, 8))[0].shape[-1]
        return With(lambda m, x: m.out(m.rnn(x)[0].mean(1)), rnn=rnn, out=nn.Linear(width, 2))

    return build


def residual_of_a_differential_equation():
    def forward(m, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (g,) = torch.autograd.grad(m.u(x).sum(), x, create_graph=True)
            (second,) = torch.autograd.grad(g[:, 0].sum(), x, create_graph=True)
        return g[:, 1] - second[:, 0]

    return With(forward, u=nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)))


def pruned():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    prune.random_unstructured(model[0], "weight", 0.5)
    return model


def old_weight_norm():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    nn.utils.weight_norm(model[0])
    return model


def parametrized(parametrization, **options):
    return lambda: nn.Sequential(parametrization(nn.Linear(4, 4), **options), nn.Tanh(), nn.Linear(4, 2))


class Quantized(nn.Module):
    """Frozen weights of whole numbers."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randint(-127, 127, (8, 4), dtype=torch.int8), requires_grad=False)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(x @ (0.01 * self.w.to(x.dtype)).T)


def bag(**options):
    return lambda: nn.Sequential(nn.EmbeddingBag(9, 6, **options), nn.Tanh(), nn.Linear(6, 2))


def weighted_bag():
    def forward(m, tokens):
        weights = torch.softmax(m.weights(tokens)[..., 0], 1)
        return m.out(m.bag(tokens, per_sample_weights=weights))

    return With(forward, weights=nn.Embedding(9, 1), bag=nn.EmbeddingBag(9, 6, mode="sum"), out=nn.Linear(6, 2))


def lookup(**options):
    return lambda: nn.Sequential(nn.Embedding(9, 6, **options), nn.Flatten(), nn.Tanh(), nn.Linear(18, 2))


def frozen_below():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    model[0].requires_grad_(False)
    model[2].bias.requires_grad_(False)
    return model


def clips_its_weights():
    def forward(m, x):
        with torch.no_grad():
            m.a.weight.clamp_(-0.3, 0.3)
        return m.a(x).tanh()

    return With(forward, a=nn.Linear(4, 2))


def scales_its_input():
    def forward(m, x):
        x.mul_(0.5)
        return m.a(torch.sin(x))

    return With(forward, a=nn.Linear(4, 2))


def checkpointed():
    def forward(m, x):
        return m.c(checkpoint(m.b, torch.tanh(m.a(x)), use_reentrant=False))

    inner = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    return With(forward, a=nn.Linear(4, 8), b=inner, c=nn.Linear(8, 3))


def compiled_inside():
    block = torch.compile(nn.Sequential(nn.Linear(4, 8), nn.Tanh()), backend="eager")
    return nn.Sequential(block, nn.Linear(8, 2))


def compiled_in_place():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    model.compile(backend="eager")
    return model


def grid_sample():
    def forward(m, x):
        image, grid = m.a(x).view(-1, 1, 4, 4), torch.tanh(m.b(x)).view(-1, 2, 2, 2)
        return F.grid_sample(image, grid, align_corners=False).flatten(1)

    return With(forward, a=nn.Linear(4, 16), b=nn.Linear(4, 8))


def segments(h):
    lengths = torch.full((len(h), 2), 4)
    return torch.segment_reduce(h, "max", lengths=lengths, axis=1)


def sparse_layer(h):
    graph = torch.eye(8, dtype=h.dtype).roll(1, 0).to_sparse()
    return torch.sparse.mm(graph, h.T).T.tanh()


SEQUENCE = (5, 8)
MASK = torch.tensor([[j <= i and (i, j) != (0, 0) for j in range(5)] for i in range(5)])  # one row sees nothing

HARD = {
    "norm without gradient": Hard(between(without_gradient)),
    "everything without gradient": Hard(between(lambda h: torch.no_grad()(torch.tanh)(h))),
    "detached": Hard(between(lambda h: torch.tanh(h) / h.detach().norm(dim=1, keepdim=True)), route=FORWARD),
    "old function": Hard(between(Relu.apply)),
    "function once differentiable": Hard(between(ReluOnce.apply), route=ROWS),
    "function with forward mode": Hard(between(Sine.apply), route=FORWARD),
    "function with wrong forward mode": Hard(between(WrongForwardMode.apply)),
    "attention": Hard(attention(), SEQUENCE, WRITTEN_OUT),
    "causal attention": Hard(attention(is_causal=True, scale=0.7), SEQUENCE, WRITTEN_OUT),
    "masked attention": Hard(attention(attn_mask=MASK), SEQUENCE, WRITTEN_OUT),
    "grouped attention": Hard(grouped_attention, SEQUENCE, WRITTEN_OUT),
    "encoder layer": Hard(encoder(), SEQUENCE, WRITTEN_OUT),
    "encoder layer in train mode": Hard(encoder(), SEQUENCE, WRITTEN_OUT, mode=True),
    "encoder, norm first": Hard(encoder(2, norm_first=True, activation="gelu"), SEQUENCE, WRITTEN_OUT),
    "encoder with padding": Hard(padded_encoder, (5,), WRITTEN_OUT, tokens=9),
    "decoder layer": Hard(decoder, SEQUENCE, WRITTEN_OUT),
    "lstm": Hard(recurrent(nn.LSTM), SEQUENCE, DOUBLE, FORWARD),
    "lstm, two layers both ways": Hard(
        recurrent(nn.LSTM, num_layers=2, bidirectional=True), SEQUENCE, DOUBLE, FORWARD
    ),
    "lstm with projection": Hard(recurrent(nn.LSTM, proj_size=3), SEQUENCE, FORWARD),
    "gru": Hard(recurrent(nn.GRU), SEQUENCE, FORWARD),
    "rnn": Hard(recurrent(nn.RNN), SEQUENCE, FORWARD),
    "differential equation": Hard(residual_of_a_differential_equation, (2,), FORWARD),
    "pruned": Hard(pruned, route=FORWARD),
    "weight norm": Hard(parametrized(nn.utils.parametrizations.weight_norm), route=WRITTEN_OUT),
    "weight norm by hooks": Hard(old_weight_norm, route=WRITTEN_OUT),
    "spectral norm": Hard(parametrized(nn.utils.parametrizations.spectral_norm), route=FORWARD),
    "orthogonal": Hard(parametrized(nn.utils.parametrizations.orthogonal), route=FORWARD),
    "whole numbers": Hard(Quantized, route=FORWARD),
    "bag of means": Hard(bag(), (5,), WRITTEN_OUT, tokens=9),
    "bag of sums, padded": Hard(bag(mode="sum", padding_idx=0), (5,), WRITTEN_OUT, tokens=9),
    "bag of maxima": Hard(bag(mode="max"), (5,), ROWS, tokens=9),
    "bag of weighted sums": Hard(weighted_bag, (5,), WRITTEN_OUT, tokens=9),
    "sparse table": Hard(lookup(sparse=True), (3,), FORWARD, tokens=9, kernel=False),
    "table of bounded norms": Hard(lookup(max_norm=1.0), (3,), FORWARD, tokens=9),
    "frozen below": Hard(frozen_below, route=FORWARD),
    "clips its weights": Hard(clips_its_weights),
    "scales its input": Hard(scales_its_input, route=FORWARD, kernel=False),
    "in place on the input": Hard(lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2)), route=FORWARD),
    "checkpointed": Hard(checkpointed),
    "compiled": Hard(lambda: torch.compile(frozen_below(), backend="eager"), route=FORWARD, kernel=False),
    "compiled inside": Hard(compiled_inside, route=FORWARD, kernel=False),
    "compiled in place": Hard(compiled_in_place, route=FORWARD, kernel=False),
    "data parallel": Hard(lambda: nn.DataParallel(frozen_below()), route=FORWARD),
    "gated linear unit": Hard(between(nn.GLU(), 4)),
    "distances": Hard(between(lambda h: torch.cdist(h[:, None], h.new_ones(3, 8))[:, 0], 3), route=WRITTEN_OUT),
    "grid sample": Hard(grid_sample),
    "segments": Hard(between(segments, 2), route=ROWS),
    "sparse layer": Hard(between(sparse_layer)),
    "rounded to a grid": Hard(between(lambda h: torch.fake_quantize_per_tensor_affine(h, 0.1, 0, -127, 127))),
    "two axes of outputs": Hard(lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh()), (5, 4), FORWARD, kernel=False),
    "one output": Hard(lambda: Functional(lambda m, x: torch.tanh(x @ m.w), w=(4,)), route=FORWARD),
}
