"""Ways of calling networks and of returning outputs: optional arguments, layouts of inputs, logits by name."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import torch

from tests.kernels.empirical.zoo.case import Case, floats, linear, net, several
from tests.kernels.empirical.zoo.habits import AB, MLP, X

Both = namedtuple("Both", ["hidden", "logits"])


@dataclass
class Output:
    logits: torch.Tensor
    loss: torch.Tensor | None = None


class ModelOutput(OrderedDict):
    """As in transformers: a dictionary whose entries are attributes too."""

    def __getattr__(self, name):
        return self[name]


def with_defaults(m, x, scale=None, *, shift=0.0):
    h = torch.tanh(m.a(x))
    return m.out(h if scale is None else h * scale + shift)


def flags(m, x, on):
    return m.out(torch.where(on, torch.relu(m.a(x)), torch.tanh(m.a(x))))


def named_outputs(wrap):
    return net(lambda m, x: wrap(m.out(torch.tanh(m.a(x)))), a=linear(4, 5), out=linear(5, 2))


def strided(n, g):
    return torch.randn(4, n, generator=g).T


def needing_grad(n, g):
    return torch.randn(n, 4, generator=g).requires_grad_()


def expanded(n, g):
    return torch.randn(n, 1, generator=g).expand(n, 4)


CASES = [
    Case("optional arguments left out", net(with_defaults, **AB), several(x=X)),
    Case("optional arguments given", net(with_defaults, **AB), several(x=X, shift=floats(5), scale=floats(5))),
    Case("tuple of one input", net(with_defaults, **AB), several(X)),
    Case(
        "booleans for every example",
        net(flags, **AB),
        several(X, lambda n, g: torch.rand(n, 1, generator=g) > 0.5),
    ),
    Case("outputs in a data class", named_outputs(lambda out: Output(out)), X),
    Case("outputs in a dictionary", named_outputs(lambda out: {"hidden": out * 2, "logits": out}), X),
    Case("outputs in a named tuple", named_outputs(lambda out: Both(out * 2, out)), X),
    Case("outputs as in transformers", named_outputs(lambda out: ModelOutput(logits=out)), X),
    Case("transposed inputs", MLP, strided),
    Case("inputs that require grad", MLP, needing_grad),
    Case("expanded inputs", MLP, expanded),
]
