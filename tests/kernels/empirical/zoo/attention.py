"""Attention: torch's own modules, and the ways of writing it by hand."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, Constant, Net, floats, lengths, linear, net, several, shared

CAUSAL = torch.ones(5, 5).triu(1).bool()


def self_attention(**options):
    def function(m, x):
        return m.out(m.mha(x, x, x)[0].flatten(1))

    return net(function, mha=lambda: nn.MultiheadAttention(4, 2, batch_first=True, **options), out=linear(20, 2))


def masked(m, x, mask):
    return m.mha(x, x, x, attn_mask=mask, need_weights=False)[0]


def padded(m, x, mask):
    h = m.mha(x, x, x, key_padding_mask=mask == 0, need_weights=False)[0]
    return (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def cross(m, x, y):
    return m.mha(x, y, y, average_attn_weights=False)[0].mean(1)


def sequence_first(m, x):
    y = x.transpose(0, 1)
    return m.mha(y, torch.tanh(y), y)[0].mean(0)


def heads(x, h):
    return x.unflatten(-1, (h, -1)).transpose(1, 2)  # [n, h, T, d]


def merged(x):
    return x.transpose(1, 2).flatten(2)


def scores(q, k):
    return q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])


def by_hand(m, x):
    q, k, v = (heads(layer(x), 2) for layer in (m.q, m.k, m.v))
    return m.out(merged(scores(q, k).softmax(-1) @ v)).mean(1)


def fused_causal(m, x):
    q, k, v = (heads(part, 2) for part in m.qkv(x).chunk(3, -1))
    s = scores(q, k).masked_fill(m.mask, -torch.inf)
    return m.out(merged(s.softmax(-1) @ v))[:, -1]


def three_at_once(m, x):
    """q, k and v from one product, parted the way ViT does it."""
    n, t, d = x.shape
    q, k, v = m.qkv(x).reshape(n, t, 3, 2, d // 2).permute(2, 0, 3, 1, 4).unbind(0)
    h = F.scaled_dot_product_attention(q, k, v)
    return m.out(h.transpose(1, 2).reshape(n, t, d)).mean(1)


def sdpa_causal(m, x):
    q, k, v = (heads(part, 2) for part in m.qkv(x).chunk(3, -1))
    return m.out(merged(F.scaled_dot_product_attention(q, k, v, is_causal=True)))


def sdpa_masked(m, x, mask):
    q, k, v = (heads(layer(x), 2) for layer in (m.q, m.k, m.v))
    h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.bool()[:, None, None, :])
    return m.out(merged(h))[:, 0]


def grouped_queries(m, x):
    """Four heads of queries, two of keys and values."""
    q, k, v = heads(m.q(x), 4), heads(m.k(x), 2), heads(m.v(x), 2)
    k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
    return m.out(merged(scores(q, k).softmax(-1) @ v)).mean(1)


def one_key_head(m, x):
    q, k, v = heads(m.q(x), 2), m.k(x)[:, None], m.v(x)[:, None]
    return m.out(merged(scores(q, k).softmax(-1) @ v)).mean(1)


def rotated(x):
    d = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * 10.0 ** -torch.arange(d, dtype=x.dtype)
    a, b = x[..., :d], x[..., d:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def rotary(m, x):
    q, k, v = rotated(heads(m.q(x), 1)), rotated(heads(m.k(x), 1)), heads(m.v(x), 1)
    return m.out(merged(scores(q, k).softmax(-1) @ v)).mean(1)


def alibi(m, x):
    t = torch.arange(x.shape[1])
    distance = (t[:, None] - t[None]).abs().to(x.dtype)
    q, k, v = (heads(part, 2) for part in m.qkv(x).chunk(3, -1))
    slopes = torch.tensor([0.5, 0.25], dtype=x.dtype)[:, None, None]
    return m.out(merged((scores(q, k) - slopes * distance).softmax(-1) @ v)).mean(1)


def relative_bias(m, x):
    """A learned bias for every distance and head, as in T5."""
    t = torch.arange(x.shape[1])
    bias = m.bias((t[None] - t[:, None]).clamp(-2, 2) + 2).permute(2, 0, 1)[None]
    q, k, v = (heads(part, 2) for part in m.qkv(x).chunk(3, -1))
    return m.out(merged((scores(q, k) + bias).softmax(-1) @ v)).mean(1)


def window_bias(m, x):
    """A table indexed by a buffer, as in Swin."""
    bias = m.table[m.index.flatten()].view(5, 5, 2).permute(2, 0, 1)
    q, k, v = (heads(part, 2) for part in m.qkv(x).chunk(3, -1))
    return m.out(merged((scores(q, k) + bias).softmax(-1) @ v)).mean(1)


def talking_heads(m, x):
    q, k, v = (heads(part, 2) for part in m.qkv(x).chunk(3, -1))
    s = torch.einsum("nhij,hg->ngij", scores(q, k), m.before).softmax(-1)
    return m.out(merged(torch.einsum("nhij,hg->ngij", s, m.after) @ v)).mean(1)


def normalized_queries(m, x):
    q, k, v = (heads(part, 2) for part in m.qkv(x).chunk(3, -1))
    s = m.temperature.exp() * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT
    return m.out(merged(s.softmax(-1) @ v)).mean(1)


def linear_attention(m, x):
    q, k, v = m.qkv(x).chunk(3, -1)
    q, k = F.elu(q) + 1, F.elu(k) + 1
    kv = torch.einsum("ntd,nte->nde", k, v)
    norm = torch.einsum("ntd,nd->nt", q, k.sum(1))[..., None]
    return m.out(torch.einsum("ntd,nde->nte", q, kv) / norm).mean(1)


def learned_queries(m, x):
    """A fixed number of learned latents reads the tokens."""
    q = m.query.expand(len(x), -1, -1)
    h = m.mha(q, x, x, need_weights=False)[0]
    return m.out(h.flatten(1))


def learned_slots(m, x):
    """Keys and values are parameters: a memory."""
    a = (x @ m.keys.T / 2).softmax(-1)
    return torch.tanh(m.out(a @ m.values))


def attention_pool(m, x):
    a = m.score(torch.tanh(m.a(x))).softmax(1)
    return m.out((a * x).sum(1))


def external_mask(m, x, bias):
    q, k, v = m.qkv(x).chunk(3, -1)
    return m.out((scores(q, k) + bias).softmax(-1) @ v).mean(1)


QKV = {"qkv": linear(4, 12), "out": linear(4, 3)}
THREE = {"q": linear(4, 4), "k": linear(4, 4), "v": linear(4, 4), "out": linear(4, 3)}
INDEX = torch.arange(5)[None] - torch.arange(5)[:, None] + 4

CASES = [
    Case("multi-head attention", self_attention(), floats(5, 4)),
    Case("multi-head attention in eval mode", lambda: self_attention()().eval(), floats(5, 4)),
    Case("multi-head attention without bias", self_attention(bias=False), floats(5, 4)),
    Case("multi-head attention, bias_kv", self_attention(add_bias_kv=True), floats(5, 4)),
    Case("multi-head attention, zero_attn", self_attention(add_zero_attn=True), floats(5, 4)),
    Case(
        "multi-head attention, a mask shared by all",
        net(masked, mha=lambda: nn.MultiheadAttention(4, 2, batch_first=True)),
        several(floats(5, 4), shared(CAUSAL)),
    ),
    Case(
        "multi-head attention, padding",
        net(padded, mha=lambda: nn.MultiheadAttention(4, 2, batch_first=True)),
        several(x=floats(5, 4), mask=lengths(5)),
    ),
    Case(
        "cross-attention of other sizes",
        net(cross, mha=lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=3, batch_first=True)),
        several(floats(5, 4), floats(6, 3)),
    ),
    Case("sequence-first attention", net(sequence_first, mha=lambda: nn.MultiheadAttention(4, 2)), floats(5, 4)),
    Case("attention by hand", net(by_hand, **THREE), floats(5, 4)),
    Case(
        "causal attention, one product for q, k, v",
        lambda: Net(fused_causal, qkv=nn.Linear(4, 12), out=nn.Linear(4, 3), mask=Constant(CAUSAL.clone())),
        floats(5, 4),
    ),
    Case("attention of ViT", net(three_at_once, **QKV), floats(5, 4)),
    Case("scaled_dot_product_attention, causal", net(sdpa_causal, **QKV), floats(5, 4)),
    Case("scaled_dot_product_attention, padding", net(sdpa_masked, **THREE), several(floats(5, 4), lengths(5))),
    Case(
        "grouped-query attention",
        net(grouped_queries, q=linear(4, 8), k=linear(4, 4), v=linear(4, 4), out=linear(8, 2)),
        floats(5, 4),
    ),
    Case(
        "multi-query attention",
        net(one_key_head, q=linear(4, 6), k=linear(4, 3), v=linear(4, 3), out=linear(6, 2)),
        floats(5, 4),
    ),
    Case("rotary positions", net(rotary, **THREE), floats(5, 4)),
    Case("ALiBi", net(alibi, **QKV), floats(5, 4)),
    Case("relative position bias", net(relative_bias, bias=lambda: nn.Embedding(5, 2), **QKV), floats(5, 4)),
    Case(
        "window bias",
        lambda: Net(
            window_bias, table=(9, 2), index=Constant(INDEX.clone()), qkv=nn.Linear(4, 12), out=nn.Linear(4, 3)
        ),
        floats(5, 4),
    ),
    Case("talking heads", net(talking_heads, before=(2, 2), after=(2, 2), **QKV), floats(5, 4)),
    Case("normalized queries, learned temperature", net(normalized_queries, temperature=(), **QKV), floats(5, 4)),
    Case("linear attention", net(linear_attention, **QKV), floats(5, 4)),
    Case(
        "learned queries",
        net(
            learned_queries,
            query=(1, 3, 4),
            mha=lambda: nn.MultiheadAttention(4, 2, batch_first=True),
            out=linear(12, 2),
        ),
        floats(5, 4),
    ),
    Case("learned keys and values", net(learned_slots, keys=(6, 4), values=(6, 4), out=linear(4, 3)), floats(4)),
    Case(
        "attention pooling",
        net(attention_pool, a=linear(4, 5), score=linear(5, 1, False), out=linear(4, 2)),
        floats(5, 4),
    ),
    Case("a bias on the scores for every example", net(external_mask, **QKV), several(floats(5, 4), floats(5, 5))),
]
