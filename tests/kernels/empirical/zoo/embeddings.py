"""Tables looked up by integers: tokens, bags, categories."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import (
    Case,
    Constant,
    Net,
    floats,
    linear,
    net,
    several,
    shared,
    tokens,
)


def table(rows=7, d=4, **options):
    return lambda: nn.Embedding(rows, d, **options)


def mean_of(m, ids):
    return m.out(torch.tanh(m.tok(ids)).mean(1))


def scaled(m, ids):
    return m.out(torch.tanh(m.tok(ids) * 4**0.5).mean(1))


def weighted_bag(m, ids, weights):
    return m.out(torch.tanh(m.bag(ids, per_sample_weights=weights)))


def bag_and_positions(m, ids):
    return m.out(torch.tanh(m.bag(ids) + m.pos(torch.tensor([1]))))


def one_hot(m, ids):
    return m.out(torch.tanh(F.one_hot(ids, 7).to(m.w.dtype) @ m.w).mean(1))


def rows_of_parameter(m, ids):
    return m.out(torch.tanh(m.w[ids]).mean(1))


def rows_by_index_select(m, ids):
    return m.out(torch.tanh(m.w.index_select(0, ids.flatten()).view(*ids.shape, 4)).mean(1))


def rows_by_gather(m, ids):
    return torch.tanh(torch.gather(m.w.expand(len(ids), 7), 1, ids))


def factorized(m, ids):
    return m.out(torch.tanh(m.up(m.tok(ids))).mean(1))


def hashed(m, ids):
    return m.out(torch.tanh(m.a(ids % 3) * m.b(ids % 5)).mean(1))


def categories_and_numbers(m, x, categories):
    parts = [tab(categories[:, k]) for k, tab in enumerate(m.tables)]
    return m.out(torch.relu(m.a(torch.cat([x, *parts], 1))))


def factorization_machine(m, ids):
    v = m.factors(ids)
    pairs = (v.sum(1).square() - v.square().sum(1)).sum(1) / 2
    return m.bias + m.weights(ids).sum((1, 2)) + pairs


def recommender(m, user, item):
    return (m.users(user) * m.items(item)).sum(-1) + m.user_bias(user)[:, 0] + m.item_bias(item)[:, 0] + m.mean


def skip_gram(m, center, context):
    """Two tables, and every pair of a center and its contexts."""
    return (m.a(context) @ m.b(center)[..., None]).squeeze(-1)


def tied_head(m, ids):
    return F.linear(torch.tanh(m.a(m.tok(ids))).mean(1), m.tok.weight, m.bias)


def tied_embedding_of_two(m, a, b):
    return torch.cat([m.out(m.one(a).mean(1)), m.out(m.two(b).mean(1))], 1)


def two_names_of_one_table():
    model = Net(tied_embedding_of_two, one=nn.Embedding(7, 4), two=nn.Embedding(7, 4), out=nn.Linear(4, 2))
    model.two.weight = model.one.weight
    return model


def masked_mean(m, mask, ids):
    """The mask comes first, and is shared."""
    return m.out((torch.tanh(m.tok(ids)) * mask[:, None]).sum(1))


def bigrams(m, ids):
    return m.out(torch.tanh(m.pair(ids[:, :-1] * 4 + ids[:, 1:])).sum(1))


def several_tables():
    return nn.ModuleList([nn.Embedding(3, 2), nn.Embedding(4, 3)])


IDS = tokens(7, 5)

TOK = {"tok": table(), "out": linear(4, 3)}


CASES = [
    Case("tokens", net(mean_of, **TOK), IDS),
    Case("one token", net(lambda m, i: m.out(torch.tanh(m.tok(i))), **TOK), tokens(7)),
    Case("table alone", lambda: nn.Embedding(7, 3), tokens(7)),
    Case("padding index", net(mean_of, **(TOK | {"tok": table(padding_idx=0)})), IDS),
    Case("scaled table", net(scaled, **TOK), IDS),
    Case("max_norm", net(mean_of, **(TOK | {"tok": table(max_norm=0.7)})), IDS),
    Case("sparse gradients", net(mean_of, **(TOK | {"tok": table(sparse=True)})), IDS),
    Case(
        "bag, mean",
        net(lambda m, i: m.out(torch.tanh(m.bag(i))), bag=lambda: nn.EmbeddingBag(7, 4), out=linear(4, 3)),
        IDS,
    ),
    Case(
        "bag, sum",
        net(
            lambda m, i: m.out(torch.tanh(m.bag(i))),
            bag=lambda: nn.EmbeddingBag(7, 4, mode="sum"),
            out=linear(4, 3),
        ),
        IDS,
    ),
    Case(
        "bag, max",
        net(
            lambda m, i: m.out(torch.tanh(m.bag(i))),
            bag=lambda: nn.EmbeddingBag(7, 4, mode="max"),
            out=linear(4, 3),
        ),
        IDS,
    ),
    Case(
        "bag, padding",
        net(
            lambda m, i: m.out(torch.tanh(m.bag(i))),
            bag=lambda: nn.EmbeddingBag(7, 4, padding_idx=1),
            out=linear(4, 3),
        ),
        IDS,
    ),
    Case(
        "bag, weighted",
        net(weighted_bag, bag=lambda: nn.EmbeddingBag(7, 4, mode="sum"), out=linear(4, 3)),
        several(IDS, floats(5)),
    ),
    Case(
        "bag and a shared row",
        net(bag_and_positions, bag=lambda: nn.EmbeddingBag(7, 4), pos=table(3), out=linear(4, 3)),
        IDS,
    ),
    Case("one-hot times matrix", net(one_hot, w=(7, 4), out=linear(4, 3)), IDS),
    Case("rows of a parameter", net(rows_of_parameter, w=(7, 4), out=linear(4, 3)), IDS),
    Case("rows by index_select", net(rows_by_index_select, w=(7, 4), out=linear(4, 3)), IDS),
    Case("entries by gather", net(rows_by_gather, w=(1, 7)), tokens(7, 3)),
    Case("factorized table", net(factorized, tok=table(7, 2), up=linear(2, 4, False), out=linear(4, 3)), IDS),
    Case("two hashed tables", net(hashed, a=table(3), b=table(5), out=linear(4, 3)), tokens(15, 5)),
    Case(
        "categories and numbers",
        net(categories_and_numbers, tables=several_tables, a=linear(8, 5), out=linear(5, 2)),
        several(floats(3), tokens(3, 2)),
    ),
    Case(
        "factorization machine",
        net(factorization_machine, factors=table(9, 3), weights=table(9, 1), bias=()),
        tokens(9, 4),
    ),
    Case(
        "recommender",
        net(
            recommender,
            users=table(5, 3),
            items=table(6, 3),
            user_bias=table(5, 1),
            item_bias=table(6, 1),
            mean=(),
        ),
        several(user=tokens(5), item=tokens(6)),
    ),
    Case("skip-gram", net(skip_gram, a=table(7, 3), b=table(7, 3)), several(tokens(7), tokens(7, 5))),
    Case("tied head", net(tied_head, tok=table(), a=linear(4, 4), bias=(7,)), IDS),
    Case("two names of one table", two_names_of_one_table, several(IDS, tokens(7, 2))),
    Case(
        "shared mask before the ids",
        net(masked_mean, **TOK),
        several(mask=shared(torch.tensor([1.0, 0, 1, 1, 2])), ids=IDS),
    ),
    Case("pairs of neighbors", net(bigrams, pair=table(16), out=linear(4, 2)), tokens(4, 5)),
    Case(
        "frozen table as a buffer",
        lambda: Net(
            lambda m, i: m.out(F.embedding(i, m.rows)).tanh().mean(1),
            rows=Constant(torch.randn(7, 4)),
            out=nn.Linear(4, 3),
        ),
        IDS,
    ),
]
