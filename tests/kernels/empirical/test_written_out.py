"""Fused functions in small pieces: the same outputs and gradients, and derivatives of those."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ntkgap.kernels.empirical.rules.written_out import WrittenOut
from tests.tolerances import EXACT


def heads(generator, n=2, length=4):
    return torch.randn(2, n, length, 3, dtype=torch.float64, generator=generator, requires_grad=True)


MASKS = {
    "none": None,
    "boolean": torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool),
    "added": torch.tensor([[0.0, 1.0, -torch.inf, 2.0]], dtype=torch.float64).expand(4, 4),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention(mask, scale, generator):
    q, k, v = (heads(generator) for _ in range(3))
    check(lambda: F.scaled_dot_product_attention(q, k, v, MASKS[mask], scale=scale), (q, k, v))


def test_attention_causal_and_grouped(generator):
    q, k, v = heads(generator, 4), heads(generator), heads(generator)
    check(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True), (q, k, v))


def test_attention_layers_are_entered(generator):
    layer = nn.MultiheadAttention(4, 2, batch_first=True).double().eval()
    x = torch.randn(3, 5, 4, dtype=torch.float64, generator=generator)
    check(lambda: layer(x, x, x, need_weights=False)[0], tuple(layer.parameters()))
    with torch.no_grad(), WrittenOut():
        torch.testing.assert_close(layer(x, x, x)[0], layer(x, x, x, need_weights=False)[0])


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
def test_distances(p, generator):
    a, b = heads(generator), heads(generator, length=5)
    check(lambda: torch.cdist(a, b, p), (a, b))


@pytest.mark.parametrize("dim", [0, 1])
def test_weight_norm(dim, generator):
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3), dim=dim).double()
    x = torch.randn(5, 4, dtype=torch.float64, generator=generator)
    check(lambda: layer(x), tuple(layer.parameters()))


BAGS = [{}, {"offsets": [0, 2, 2, 5]}, {"offsets": [0, 3, 6], "include_last_offset": True}]


@pytest.mark.parametrize(
    ("bags", "mode", "weighted", "padding_idx"),
    [
        *itertools.product(BAGS, ["sum", "mean"], [False], [None, 2]),
        *itertools.product(BAGS, ["sum"], [True], [None, 2]),
        ({}, "max", False, None),
    ],
)
def test_bags(bags, mode, weighted, padding_idx, generator):
    table = torch.randn(5, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    entries = torch.tensor([2, 0, 2, 4, 1, 2])
    weights = torch.randn(6, dtype=torch.float64, generator=generator, requires_grad=True) if weighted else None
    options = {"mode": mode, "padding_idx": padding_idx} | bags
    if bags:
        options["offsets"] = torch.tensor(bags["offsets"])
    else:
        entries = entries.view(2, 3)
    shares = weights if weights is None else weights.view_as(entries)
    inputs = (table,) if weights is None else (table, weights)
    check(
        lambda: F.embedding_bag(entries, table, per_sample_weights=shares, **options),
        inputs,
        twice=mode != "max",
    )


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("packed", [True, False])
def test_the_loops_of_recurrent_layers_on_a_gpu(kind, packed, monkeypatch, generator):
    """The same loops, on a CPU that says it is one."""
    layer = kind(3, 4, 2, bidirectional=True).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64, generator=generator)
    x = nn.utils.rnn.pack_padded_sequence(x, [5, 3]) if packed else x
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    check(lambda: layer(x)[0][0], tuple(layer.parameters()))


def check(function, inputs, twice=True):
    """Outputs and gradients with and without; second derivatives exist with it."""
    expected = function()
    with WrittenOut():
        found = function()
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)
    v = torch.ones_like(expected).cumsum(0)
    once = torch.autograd.grad(expected, inputs, v)
    mine = torch.autograd.grad(found, inputs, v.requires_grad_(), create_graph=True)
    for g, h in zip(mine, once, strict=True):
        torch.testing.assert_close(g.detach(), h, rtol=EXACT, atol=EXACT)
    if twice:
        torch.autograd.grad([g.sum() for g in mine], v)
