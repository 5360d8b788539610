"""Inputs and outputs that have no tangent kernel."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from tests.kernels.empirical.zoo.case import linear, net
from tests.kernels.empirical.zoo.refused import AB, MLP, Refusal, x


class Documents(nn.Module):
    """Takes ids and an optional mask by name."""

    def __init__(self):
        super().__init__()
        self.tok, self.out = nn.Embedding(7, 4), nn.Linear(4, 2)

    def forward(self, input_ids, attention_mask=None):
        return self.out(torch.tanh(self.tok(input_ids)).mean(1))


def ids(*shape):
    return torch.randint(7, shape or (4, 5), generator=torch.Generator().manual_seed(1))


def packed():
    return pack_padded_sequence(x(4, 5, 3)(), torch.tensor([5, 4, 2, 1]), batch_first=True)


def over_packed(m, p):
    return m.out(m.rnn(p)[1][0])


REFUSALS = [
    Refusal(
        "unknown key",
        Documents,
        lambda: {"input_ids": ids(), "token_type_ids": ids()},
        ("token_type_ids", "input_ids|attention_mask|takes|argument"),
    ),
    Refusal("missing key", Documents, lambda: {"attention_mask": ids()}, ("input_ids",)),
    Refusal("too many inputs", MLP, lambda: (x()(), x()()), ("input|argument", "two|2|one|1")),
    Refusal(
        "different lengths",
        net(lambda m, x, y: m.b(torch.tanh(m.a(x)) + y), **AB),
        lambda: {"x": x()(), "y": x(6, 4)()},
        (r"\b[xy]\b", "4|6"),
    ),
    Refusal(
        "list of tensors of different lengths",
        MLP,
        lambda: [torch.randn(2, 3), torch.randn(4, 3)],
        ("list", "tensor|stack|pad|tuple"),
    ),
    Refusal(
        "packed sequence",
        net(over_packed, rnn=lambda: nn.LSTM(3, 4, batch_first=True), out=linear(4, 2)),
        packed,
        ("PackedSequence", "pad|tensor"),
        linearized=False,
    ),
    Refusal(
        "sparse inputs",
        MLP,
        lambda: torch.eye(4, 3).to_sparse(),
        ("sparse", "to_dense\\(\\)|dense"),
        linearized=False,
    ),
    Refusal(
        "nested tensor",
        MLP,
        lambda: torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(4, 3)]),
        ("nested", "pad|dense|tensor"),
        linearized=False,
    ),
    Refusal("empty dictionary", Documents, dict, ("empty|no tensor|no torch.Tensor|at least one",)),
    Refusal("words in a dictionary", Documents, lambda: {"input_ids": ["a", "b"]}, ("tensor",)),
    Refusal("array in a dictionary", Documents, lambda: {"input_ids": ids().numpy()}, ("tensor|ndarray",)),
    Refusal(
        "no examples in a dictionary",
        Documents,
        lambda: {"input_ids": ids(0, 5)},
        ("input_ids|inputs|x1|x", "at least one|empty|0"),
        linearized=False,
    ),
    Refusal(
        "floats where ids are meant", Documents, lambda: {"input_ids": ids().float()}, ("float", "long\\(\\)")
    ),
    Refusal("wrong number of features", MLP, x(4, 7), ("7", "3|shape")),
    Refusal(
        "tuple of two tensors",
        net(lambda m, x: (m.b(m.a(x)), m.a(x)), **AB),
        x(),
        ("tuple", "wrap|one tensor|logits"),
    ),
    Refusal("dictionary without logits", net(lambda m, x: {"out": m.b(m.a(x))}, **AB), x(), ("dict", "logits")),
    Refusal("nothing", net(lambda m, x: None, **AB), x(), ("None", "tensor")),
    Refusal(
        "one number for the batch",
        net(lambda m, x: m.b(m.a(x)).sum(), **AB),
        x(),
        ("\\[\\]|shape|one row",),
        linearized=False,
    ),
    Refusal(
        "classes instead of scores",
        net(lambda m, x: m.b(m.a(x)).argmax(1), **AB),
        x(),
        ("int64|integer|floating",),
    ),
    Refusal(
        "complex outputs",
        net(lambda m, x: torch.fft.fft(m.b(m.a(x))), **AB),
        x(),
        ("complex", "real|abs|view_as_real"),
    ),
    Refusal(
        "NaN outputs",
        net(lambda m, x: torch.log(-m.b(m.a(x)).square()), **AB),
        x(),
        ("NaN", "check|first"),
        linearized=False,
    ),
    Refusal(
        "shape that depends on values",
        net(lambda m, x: m.b(m.a(x))[:, : 1 + int(x[:, 0].max() > 0)], **AB),
        lambda: torch.tensor([[-1.0, 2, 3], [1, 2, 3], [-1, 1, 1], [2, 1, 1]]),
        ("shape|size|outputs",),
        linearized=False,
    ),
    Refusal(
        "rows that depend on values",
        net(lambda m, x: m.b(m.a(x[x[:, 0] > 0])), **AB),
        x(),
        ("\\[n|row|shape",),
        linearized=False,
    ),
    Refusal(
        "reentrant checkpoint",
        net(lambda m, x: m.b(checkpoint(m.c, torch.tanh(m.a(x)), use_reentrant=True)), c=linear(4, 4), **AB),
        x(),
        ("checkpoint", "use_reentrant=False"),
    ),
    Refusal(
        "reentrant checkpoint first",
        net(lambda m, x: m.b(checkpoint(m.a, x, use_reentrant=True)), **AB),
        x(),
        ("checkpoint", "use_reentrant=False"),
    ),
]
