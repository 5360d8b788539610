"""Whole transformers, of torch and by hand."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

from ntkgap.models import Transformer
from tests.kernels.empirical.zoo.case import Case, Constant, Net, floats, lengths, linear, net, several, tokens
from tests.kernels.empirical.zoo.normalization import LLAMA, LlamaNorm


def encoder_layer(d=4, **options):
    return nn.TransformerEncoderLayer(d, 2, 6, dropout=0.0, batch_first=True, **options)


def pooled(m, x):
    return m.out(m.layer(x).mean(1))


class Block(nn.Module):
    """Pre-norm attention and two dense layers, causal if asked."""

    def __init__(self, d, causal=False):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.causal = causal

    def forward(self, x, mask=None):
        q, k, v = (p.unflatten(-1, (2, -1)).transpose(1, 2) for p in self.qkv(self.norm1(x)).chunk(3, -1))
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        x = x + self.out(h.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def vit(m, x):
    x = m.patches(x).flatten(2).transpose(1, 2)
    x = torch.cat([m.token.expand(len(x), -1, -1), x], 1) + m.place
    return m.head(m.norm(m.block(x))[:, 0])


def distilled(m, x):
    """Two tokens and two heads, of which the mean counts."""
    x = torch.cat([m.tokens.repeat(len(x), 1, 1), m.embed(x)], 1) + m.place[:, : x.shape[1] + 2]
    x = m.block(x)
    return (m.head(x[:, 0]) + m.other(x[:, 1])) / 2


class Bert(nn.Module):
    """Token, position and type embeddings, attention mask, pooler; returns an object with logits."""

    def __init__(self, wrap=lambda logits: SimpleNamespace(logits=logits, hidden=None)):
        super().__init__()
        self.tokens, self.places, self.types = (
            nn.Embedding(9, 4, padding_idx=0),
            nn.Embedding(8, 4),
            nn.Embedding(2, 4),
        )
        self.register_buffer("position_ids", torch.arange(8)[None])
        self.norm, self.block = nn.LayerNorm(4), Block(4)
        self.pooler, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.wrap = wrap

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        places = self.places(self.position_ids[:, : input_ids.shape[1]])
        h = self.norm(self.tokens(input_ids) + places + self.types(token_type_ids))
        h = self.block(h, attention_mask.bool()[:, None, None])
        return self.wrap(self.head(torch.tanh(self.pooler(h[:, 0]))))


def gpt(m, ids):
    h = m.wte(ids) + m.wpe(torch.arange(ids.shape[1], device=ids.device))
    h = m.norm(m.block(h))
    return F.linear(h, m.wte.weight)


def last_logits(m, input_ids, attention_mask):
    """The logits at each example's last token."""
    h = gpt(m, input_ids)
    last = attention_mask.sum(1) - 1
    return {"logits": h[torch.arange(len(h)), last]}


def tied_head():
    """GPT-2's way: the head is a layer whose weight is the table's."""
    model = Net(
        lambda m, ids: m.head(m.block(m.wte(ids) + m.wpe(torch.arange(ids.shape[1])[None])))[:, -1],
        wte=nn.Embedding(7, 4),
        wpe=nn.Embedding(6, 4),
        block=Block(4, causal=True),
        head=nn.Linear(4, 7, bias=False),
    )
    model.head.weight = model.wte.weight
    return model


def llama(m, ids):
    h = m.table(ids)
    q, k, v = m.qkv(m.norm1(h)).chunk(3, -1)
    h = h + m.out(F.scaled_dot_product_attention(q, k, v, is_causal=True))
    gate, up = m.both(m.norm2(h)).chunk(2, -1)
    return m.head(m.norm3(h + m.down(F.silu(gate) * up)))[:, -1]


def t5(m, input_ids, decoder_input_ids):
    """Encoder and decoder that share the table and a bias by distance."""
    x, y = m.table(input_ids), m.table(decoder_input_ids)
    t = torch.arange(x.shape[1])
    bias = m.bias((t[None] - t[:, None] + 4).clamp(0, 8)).squeeze(-1)
    q, k, v = m.encoder(x).chunk(3, -1)
    x = x + (q @ k.mT + bias).softmax(-1) @ v
    y = y + (m.query(y) @ m.key(x).mT).softmax(-1) @ x
    return SimpleNamespace(logits=F.linear(torch.tanh(y), m.table.weight) * 4**-0.5, past=None)


def masked_autoencoder(m, x):
    """Two tokens of five are replaced by a learned one; all five come out."""
    kept = m.embed(x)[:, m.keep]
    full = torch.cat([m.block(kept + m.place[:, m.keep]), m.mask.expand(len(x), 2, -1)], 1)[:, m.order]
    return m.decode(full + m.place)


def translator():
    return nn.Transformer(4, 2, 1, 1, 6, dropout=0.0, batch_first=True)


GPT = {"wte": lambda: nn.Embedding(7, 4), "wpe": lambda: nn.Embedding(6, 4), "norm": lambda: nn.LayerNorm(4)}


CASES = [
    Case("TransformerEncoderLayer", net(pooled, layer=encoder_layer, out=linear(4, 2)), floats(5, 4)),
    Case(
        "TransformerEncoderLayer in eval mode",
        lambda: net(pooled, layer=encoder_layer, out=linear(4, 2))().eval(),
        floats(5, 4),
    ),
    Case(
        "TransformerEncoderLayer, norm first",
        net(pooled, layer=lambda: encoder_layer(norm_first=True, activation="gelu"), out=linear(4, 2)),
        floats(5, 4),
    ),
    Case(
        "TransformerEncoder with padding",
        lambda: Net(
            lambda m, x, mask: m.layers(x, src_key_padding_mask=mask == 0)[:, 0],
            layers=nn.TransformerEncoder(encoder_layer(), 2, enable_nested_tensor=False),
        ).eval(),
        several(floats(5, 4), lengths(5)),
    ),
    Case(
        "TransformerDecoderLayer",
        net(
            lambda m, y, x: m.layer(y, x)[:, -1],
            layer=lambda: nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True),
        ),
        several(floats(3, 4), floats(5, 4)),
    ),
    Case(
        "nn.Transformer",
        net(lambda m, x, y: m.all(x, y).mean(1), all=translator),
        several(floats(5, 4), floats(3, 4)),
    ),
    Case("transformer of ntkgap", lambda: Transformer(3, 2, 4, 1, heads=2), floats(5, 3)),
    Case(
        "ViT",
        net(
            vit,
            patches=lambda: nn.Conv2d(1, 4, 2, 2),
            token=(1, 1, 4),
            place=(1, 5, 4),
            block=lambda: Block(4),
            norm=lambda: nn.LayerNorm(4),
            head=linear(4, 3),
        ),
        floats(1, 4, 4),
    ),
    Case(
        "distilled ViT",
        net(
            distilled,
            tokens=(1, 2, 4),
            embed=linear(3, 4),
            place=(1, 7, 4),
            block=lambda: Block(4),
            head=linear(4, 3),
            other=linear(4, 3),
        ),
        floats(4, 3),
    ),
    Case("BERT, token ids alone", Bert, tokens(9, 5)),
    Case("BERT", Bert, several(input_ids=tokens(9, 5), attention_mask=lengths(5), token_type_ids=tokens(2, 5))),
    Case(
        "BERT, dictionary of logits",
        lambda: Bert(lambda logits: {"loss": None, "logits": logits}),
        several(input_ids=tokens(9, 5), attention_mask=lengths(5)),
    ),
    Case("GPT", net(gpt, block=lambda: Block(4, True), **GPT), tokens(7, 5)),
    Case(
        "GPT, logits of the last token",
        net(last_logits, block=lambda: Block(4, True), **GPT),
        several(input_ids=tokens(7, 5), attention_mask=lengths(5)),
    ),
    Case("GPT, tied head", tied_head, tokens(7, 5)),
    Case(
        "Llama",
        net(
            llama,
            table=lambda: nn.Embedding(7, 4),
            norm1=lambda: LlamaNorm(4),
            qkv=linear(4, 12, False),
            out=linear(4, 4, False),
            norm2=lambda: LlamaNorm(4),
            both=linear(4, 12, False),
            down=linear(6, 4, False),
            norm3=lambda: LlamaNorm(4),
            head=linear(4, 6, False),
        ),
        tokens(7, 5),
        **LLAMA,
    ),
    Case(
        "T5",
        net(
            t5,
            table=lambda: nn.Embedding(6, 4),
            bias=lambda: nn.Embedding(9, 1),
            encoder=linear(4, 12, False),
            query=linear(4, 4, False),
            key=linear(4, 4, False),
        ),
        several(input_ids=tokens(6, 5), decoder_input_ids=tokens(6, 2)),
    ),
    Case(
        "masked autoencoder",
        lambda: Net(
            masked_autoencoder,
            embed=nn.Linear(3, 4),
            block=Block(4),
            mask=(1, 1, 4),
            place=(1, 5, 4),
            decode=nn.Linear(4, 3),
            keep=Constant(torch.tensor([0, 2, 3])),
            order=Constant(torch.tensor([0, 3, 1, 2, 4])),
        ),
        floats(5, 3),
    ),
]
