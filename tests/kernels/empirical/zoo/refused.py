"""Networks that have no tangent kernel, and choices of parameters, with what a refusal must name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

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
        linearized: whether the linearized model must refuse it too, when it is made or when it is called. Where
            the network itself fails when it is called so, the linearized model may fail in the same way.
    """

    name: str
    build: Callable[[], Any]
    inputs: Callable[[], Any]
    says: tuple[str, ...]
    options: dict = field(default_factory=dict)
    linearized: bool = True


def x(*shape):
    return lambda: torch.randn(*(shape or (4, 3)), generator=torch.Generator().manual_seed(1))


def with_integers():
    return Net(
        lambda m, x: m.a(x) + m.k.sum(), a=nn.Linear(3, 2), k=nn.Parameter(torch.arange(3), requires_grad=False)
    )


def hook_that_holds_a_weight():
    model, gain = Net(lambda m, x: m.b(m.a(x)), a=nn.Linear(3, 4), b=nn.Linear(4, 2), gain=(4,)), []
    gain.append(model.gain)
    model.a.register_forward_hook(lambda module, args, out: out * gain[0])
    return model


MLP = stack(linear(3, 4), nn.Tanh, linear(4, 2))

AB = {"a": linear(3, 4), "b": linear(4, 2)}


REFUSALS = [
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
        ("lazy|uninitiali|no shape yet", "forward|call|once|run"),
    ),
    Refusal("model on meta", lambda: MLP().to("meta"), x(), ("meta", "to_empty|load|device|memory")),
    Refusal("inputs on meta", MLP, lambda: x()().to("meta"), ("meta", "device|cpu|to\\(")),
    Refusal("no module", lambda: torch.tanh, x(), ("nn.Module", "builtin|function|wrap|got")),
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
        linearized=False,
    ),
    Refusal(
        "gradients divided by frequency",
        net(
            lambda m, i: m.out(torch.tanh(m.tok(i)).mean(1)),
            tok=lambda: nn.Embedding(7, 4, scale_grad_by_freq=True),
            out=linear(4, 2),
        ),
        lambda: torch.tensor([[1, 1, 2], [3, 1, 3], [0, 0, 0], [4, 5, 6]]),
        ("'tok'", "scale_grad_by_freq"),
    ),
    Refusal(
        "noise",
        net(lambda m, x: m.b(m.a(x) + torch.randn(len(x), 4)), **AB),
        x(),
        ("random|call to call",),
        linearized=False,
    ),
    Refusal(
        "depends on the number of examples",
        net(lambda m, x: m.b(torch.tanh(m.a(x))) / len(x), **AB),
        x(),
        ("other examples|number of examples",),
        linearized=False,
    ),
    Refusal(
        "mean over the batch taken off",
        net(lambda m, x: m.b(torch.tanh(m.a(x) - m.a(x).mean(0))), **AB),
        x(),
        ("other examples",),
        linearized=False,
    ),
    Refusal(
        "likeness to all others in the batch",
        net(lambda m, x: F.normalize(m.a(x)) @ F.normalize(m.a(x)).T, **AB),
        x(),
        ("other examples|number of examples|same number",),
        linearized=False,
    ),
    Refusal(
        "transductive graph network",
        lambda: Net(lambda m, x: m.adjacency @ m.a(x), adjacency=Constant(torch.rand(6, 6)), a=nn.Linear(3, 2)),
        x(6, 3),
        ("other examples|number of examples|alone|one example",),
        linearized=False,
    ),
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
        linearized=False,
    ),
    Refusal(
        "tensors selected instead of names",
        MLP,
        x(),
        ("names", "parameters"),
        {"parameters": [torch.ones(2)]},
        linearized=False,
    ),
    Refusal("unknown name", MLP, x(), ("'0.wieght'", "0.weight"), {"parameters": ["0.wieght"]}, linearized=False),
    Refusal("no parameters", nn.ReLU, x(), ("no parameters",)),
    Refusal(
        "all frozen",
        lambda: MLP().requires_grad_(False),
        x(),
        ("frozen|requires_grad", "parameters="),
        linearized=False,
    ),
    Refusal(
        "hook that holds a weight",
        hook_that_holds_a_weight,
        x(),
        ("'?gain'?", "reference|attribute"),
        linearized=False,
    ),
]
