"""Positions and types of tokens, in the many ways in which they are looked up."""

import torch
from torch import nn

from tests.kernels.empirical.zoo.case import (
    Case,
    floats,
    lengths,
    linear,
    net,
    several,
    shared,
    tokens,
)
from tests.kernels.empirical.zoo.embeddings import IDS, TOK, table


def positions(m, ids):
    return m.out(torch.tanh(m.tok(ids) + m.pos(torch.arange(ids.shape[1]))).mean(1))


def positions_of_one_row(m, ids):
    return m.out(torch.tanh(m.tok(ids) + m.pos(torch.arange(ids.shape[1])[None])).mean(1))


def positions_expanded(m, ids):
    places = torch.arange(ids.shape[1]).expand_as(ids)
    return m.out(torch.tanh(m.tok(ids) + m.pos(places)).mean(1))


def positions_after_padding(m, input_ids, attention_mask):
    """Positions counted by the mask, as in RoBERTa."""
    places = attention_mask.cumsum(1) * attention_mask
    h = torch.tanh(m.tok(input_ids) + m.pos(places)) * attention_mask[..., None]
    return m.out(h.sum(1))


def positions_given(m, ids, places):
    return m.out(torch.tanh(m.tok(ids) + m.pos(places)).mean(1))


def position_slices(m, ids):
    return m.out(torch.tanh(m.tok(ids) + m.pos[:, : ids.shape[1]]).mean(1))


def position_table_as_it_is(m, ids):
    return m.out(torch.tanh(m.tok(ids) + m.pos.weight[: ids.shape[1]]).mean(1))


def two_axes(m, x):
    """A row's and a column's table make the positions of a grid."""
    rows, columns = m.rows(torch.arange(2)), m.columns(torch.arange(3))
    place = rows[:, None] + columns[None]
    return m.out(torch.tanh(m.a(x) + place).mean((1, 2)))


def types(m, ids, kinds):
    return m.out(m.norm(m.tok(ids) + m.kind(kinds) + m.pos(torch.arange(ids.shape[1]))).mean(1))


def one_type(m, ids):
    """All tokens are of type 0."""
    return m.out(torch.tanh(m.tok(ids) + m.kind(torch.zeros_like(ids))).mean(1))


def frozen_tokens():
    model = net(positions, tok=table(), pos=table(6), out=linear(4, 3))()
    model.tok.requires_grad_(False)
    return model


POS = TOK | {"pos": table(6)}


CASES = [
    Case("tokens and positions", net(positions, **POS), IDS),
    Case("positions of one row", net(positions_of_one_row, **POS), IDS),
    Case("positions expanded", net(positions_expanded, **POS), IDS),
    Case("positions given for each example", net(positions_given, **POS), several(IDS, tokens(6, 5))),
    Case("positions given for all", net(positions_given, **POS), several(IDS, shared(torch.arange(5)))),
    Case(
        "positions given for all, one row",
        net(positions_given, **POS),
        several(IDS, shared(torch.arange(5)[None])),
    ),
    Case(
        "positions counted by the mask",
        net(positions_after_padding, **POS),
        several(input_ids=IDS, attention_mask=lengths(5)),
    ),
    Case("positions, a slice of a parameter", net(position_slices, **(TOK | {"pos": (1, 6, 4)})), IDS),
    Case("positions, a slice of a table's weight", net(position_table_as_it_is, **POS), IDS),
    Case(
        "positions of a grid",
        net(two_axes, rows=table(2), columns=table(3), a=linear(3, 4), out=linear(4, 2)),
        floats(2, 3, 3),
    ),
    Case("positions, frozen tokens", frozen_tokens, IDS),
    Case(
        "token types", net(types, kind=table(2), norm=lambda: nn.LayerNorm(4), **POS), several(IDS, tokens(2, 5))
    ),
    Case("one token type", net(one_type, kind=table(2), **TOK), IDS),
]
