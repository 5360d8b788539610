"""Networks, inputs and choices that have no tangent kernel, with what a refusal must name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from tests.kernels.empirical.zoo.case import Constant, Net, linear, net, stack


@dataclass(frozen=True)
class Refusal:
    """A call that must be refused.

    Attributes:
        name: what is wrong with it.
        build: makes the network.
        inputs: makes the inputs.
        says: patterns that the message must match, without regard to case: the thing, and the remedy.
        options: keyword arguments of the kernel.
        twin: whether the linearized twin must refuse it too, when it is made or when it is called.
    """

    name: str
    build: Callable[[], Any]
    inputs: Callable[[], Any]
    says: tuple[str, ...]
    options: dict = field(default_factory=dict)
    twin: bool = True


def x(*shape):
    return lambda: torch.randn(*(shape or (4, 3)), generator=torch.Generator().manual_seed(1))


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


def in_inference_mode():
    with torch.inference_mode():
        return MLP()


def with_integers():
    return Net(
        lambda m, x: m.a(x) + m.k.sum(), a=nn.Linear(3, 2), k=nn.Parameter(torch.arange(3), requires_grad=False)
    )


def hook_that_holds_a_weight():
    model, gain = Net(lambda m, x: m.b(m.a(x)), a=nn.Linear(3, 4), b=nn.Linear(4, 2), gain=(4,)), []
    gain.append(model.gain)
    model.a.register_forward_hook(lambda module, args, out: out * gain[0])
    return model


def method_that_holds_a_weight():
    model = MLP()
    plain = model[0].forward
    model[0].forward = lambda x: torch.sin(plain(x))
    return model


MLP = stack(linear(3, 4), nn.Tanh, linear(4, 2))
AB = {"a": linear(3, 4), "b": linear(4, 2)}

REFUSALS = [
    # Modules that cannot be run with other tensors in place of their own
    Refusal(
        "scripted",
        lambda: torch.jit.script(MLP()),
        x(),
        ("TorchScript|ScriptModule", "original|plain|eager|nn.Module"),
    ),
    Refusal(
        "jit-traced",
        lambda: torch.jit.trace(MLP(), x()()),
        x(),
        ("TorchScript|ScriptModule|traced", "original|plain|eager|nn.Module"),
    ),
    Refusal(
        "lazy layers",
        lambda: nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.Linear(4, 2)),
        x(),
        ("lazy|uninitiali", "forward|call|once|run"),
    ),
    Refusal("model on meta", lambda: MLP().to("meta"), x(), ("meta", "to_empty|load|device|memory")),
    Refusal("inputs on meta", MLP, lambda: x()().to("meta"), ("meta", "device|cpu|to\\(")),
    Refusal(
        "made in inference mode", in_inference_mode, x(), ("inference_mode", "outside|clone|no_grad"), twin=False
    ),
    Refusal("no module", lambda: torch.tanh, x(), ("nn.Module", "builtin|function|wrap|got")),
    # Layers that couple examples or draw random numbers
    Refusal(
        "batch norm in train mode",
        stack(linear(3, 4), lambda: nn.BatchNorm1d(4), linear(4, 2)),
        x(),
        ("'1'", "BatchNorm1d", "train", "eval\\(\\)"),
    ),
    Refusal(
        "dropout in train mode",
        stack(linear(3, 4), nn.Dropout, linear(4, 2)),
        x(),
        ("'1'", "Dropout", "train", "eval\\(\\)"),
    ),
    Refusal(
        "dropout of attention in train mode",
        net(
            lambda m, x: m.mha(x, x, x)[0].mean(1), mha=lambda: nn.MultiheadAttention(4, 2, 0.5, batch_first=True)
        ),
        x(4, 5, 4),
        ("mha", "drop", "eval\\(\\)"),
    ),
    Refusal(
        "dropout called as a function",
        net(lambda m, x: m.b(F.dropout(m.a(x), 0.5)), **AB),
        x(),
        ("random|call to call", "eval|remove|replace"),
        twin=False,
    ),
    Refusal(
        "noise",
        net(lambda m, x: m.b(m.a(x) + torch.randn(len(x), 4)), **AB),
        x(),
        ("random|call to call",),
        twin=False,
    ),
    Refusal(
        "depends on the number of examples",
        net(lambda m, x: m.b(torch.tanh(m.a(x))) / len(x), **AB),
        x(),
        ("other examples|number of examples",),
        twin=False,
    ),
    Refusal(
        "mean over the batch taken off",
        net(lambda m, x: m.b(torch.tanh(m.a(x) - m.a(x).mean(0))), **AB),
        x(),
        ("other examples",),
        twin=False,
    ),
    Refusal(
        "likeness to all others in the batch",
        net(lambda m, x: F.normalize(m.a(x)) @ F.normalize(m.a(x)).T, **AB),
        x(),
        ("other examples|number of examples|one row",),
        twin=False,
    ),
    Refusal(
        "transductive graph network",
        lambda: Net(lambda m, x: m.adjacency @ m.a(x), adjacency=Constant(torch.rand(6, 6)), a=nn.Linear(3, 2)),
        x(6, 3),
        ("other examples|number of examples|alone|one example",),
        twin=False,
    ),
    # Inputs
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
        ("'?x'?|'?y'?", "4|6"),
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
    ),
    Refusal("sparse inputs", MLP, lambda: torch.eye(4, 3).to_sparse(), ("sparse", "to_dense\\(\\)|dense")),
    Refusal(
        "nested tensor",
        MLP,
        lambda: torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(4, 3)]),
        ("nested", "pad|dense|tensor"),
    ),
    Refusal("empty dictionary", Documents, dict, ("empty|no tensor|at least one",)),
    Refusal("words in a dictionary", Documents, lambda: {"input_ids": ["a", "b"]}, ("input_ids", "tensor")),
    Refusal(
        "array in a dictionary", Documents, lambda: {"input_ids": ids().numpy()}, ("input_ids", "tensor|ndarray")
    ),
    Refusal(
        "no examples in a dictionary",
        Documents,
        lambda: {"input_ids": ids(0, 5)},
        ("input_ids|inputs|x1|x", "at least one|empty|0"),
    ),
    Refusal(
        "floats where ids are meant", Documents, lambda: {"input_ids": ids().float()}, ("float", "long\\(\\)")
    ),
    Refusal("wrong number of features", MLP, x(4, 7), ("7", "3|shape")),
    # Outputs
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
        twin=False,
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
        twin=False,
    ),
    Refusal(
        "shape that depends on values",
        net(lambda m, x: m.b(m.a(x))[:, : 1 + int(x[:, 0].max() > 0)], **AB),
        lambda: torch.tensor([[-1.0, 2, 3], [1, 2, 3], [-1, 1, 1], [2, 1, 1]]),
        ("shape|size|outputs",),
        twin=False,
    ),
    Refusal(
        "rows that depend on values",
        net(lambda m, x: m.b(m.a(x[x[:, 0] > 0])), **AB),
        x(),
        ("\\[n|row|shape",),
        twin=False,
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
    # Parameters
    Refusal(
        "complex parameters",
        lambda: Net(lambda m, x: (x + 0j) @ m.w, w=torch.randn(3, 2, dtype=torch.complex64)),
        x(),
        ("'w'", "complex", "real"),
    ),
    Refusal(
        "integers selected",
        with_integers,
        x(),
        ("'k'", "int64", "real|floating"),
        {"parameters": ["a.weight", "k"]},
        twin=False,
    ),
    Refusal(
        "tensors selected instead of names",
        MLP,
        x(),
        ("names", "parameters"),
        {"parameters": [torch.ones(2)]},
        twin=False,
    ),
    Refusal("unknown name", MLP, x(), ("'0.wieght'", "0.weight"), {"parameters": ["0.wieght"]}, twin=False),
    Refusal("no parameters", nn.ReLU, x(), ("no parameters",)),
    Refusal(
        "all frozen", lambda: MLP().requires_grad_(False), x(), ("frozen|requires_grad", "parameters="), twin=False
    ),
    Refusal(
        "hook that holds a weight", hook_that_holds_a_weight, x(), ("'?gain'?", "reference|attribute"), twin=False
    ),
    Refusal(
        "method that holds a weight",
        method_that_holds_a_weight,
        x(),
        ("0.weight|0.bias", "reference|attribute"),
        twin=False,
    ),
]
