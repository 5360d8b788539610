"""See every use that a forward pass makes of a parameter.

A network is run once under a ``TorchFunctionMode``. Every torch function that receives a parameter (or a
tensor computed from parameters alone) passes through :class:`Recorder`:

* a function that only rearranges or rescales a parameter (``weight.t()``, ``0.5 * bias``, a chunk) gives a
  :class:`~ntkgap.kernels.empirical.parts.Part`, which stands for the parameter from then on;
* a function with a rule (see ``rules``) gives a :class:`Use`: what the layer saw and the place in autograd's
  graph where the gradient with respect to its output arrives;
* a Python function of ``torch.nn.functional`` is entered, so that multi-head attention becomes the linear
  maps it is made of;
* anything else puts the parameter on the list of those that need a fallback.

Uses are counted by the tensors, not by modules: functional layers, tied weights and modules called twice
need no special care.
"""

import contextlib
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ntkgap.kernels.empirical.parts import Part, rearranged
from ntkgap.kernels.empirical.rules import RULES, Call

# What a rule may stumble over when it meets something it was not made for.
STUMBLES = (RuntimeError, ValueError, IndexError, KeyError, TypeError, AttributeError, ZeroDivisionError)


@dataclass
class Use:
    """One use of parameters by one torch function.

    Attributes:
        call: the rule's own record: inputs, roles of the parameters, options.
        edge: where the gradient with respect to the output arrives.
        shape: of the output.
    """

    call: Call
    edge: GradientEdge
    shape: torch.Size

    @property
    def signature(self) -> tuple:
        """What two runs of the same network must agree on."""
        return (self.call.rule.name, tuple((role, p.key) for role, p in self.call.roles.items()))


class Recorder(TorchFunctionMode):
    """Records the uses of some leaves during a forward pass; see the module's docstring."""

    def __init__(self, leaves: dict[str, Tensor]) -> None:
        super().__init__()
        self.parts = {id(leaf): Part(name, leaf) for name, leaf in leaves.items()}
        self.uses: list[Use] = []
        self.unknown: dict[str, str] = {}

    def __torch_function__(self, func: Callable, _types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        touched = {id(t): self.parts[id(t)] for t in _tensors((args, kwargs)) if id(t) in self.parts}
        if not touched:
            return func(*args, **kwargs)
        if _is_composite(func):
            with self:
                return opened(func)(*args, **kwargs)
        call = None
        rule = RULES.get(func)
        if rule is not None:
            # A call in a form that a rule does not know is a call without a rule.
            with contextlib.suppress(*STUMBLES):
                call = rule.record(self.parts, args, kwargs)
        out = func(*args, **kwargs)
        if not any(t.requires_grad for t in _tensors(out)):
            return out  # a shape, a flag, a detached value: no gradient flows through it
        if call is not None and isinstance(out, Tensor):
            self.uses.append(Use(call, get_gradient_edge(out), out.shape))
            return out
        if len(touched) == 1 and all(id(t) in touched for t in _tensors((args, kwargs))):
            made = None
            with contextlib.suppress(*STUMBLES):
                made = rearranged(next(iter(touched.values())), func, args, kwargs, out)
            if made is not None:
                self.parts |= made
                return out
        for part in touched.values():
            self.unknown.setdefault(part.name, getattr(func, "__name__", str(func)))
        return out


def _tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, tuple | list):
        for branch in tree:
            yield from _tensors(branch)
    elif isinstance(tree, dict):
        for branch in tree.values():
            yield from _tensors(branch)


def _is_composite(func: Callable) -> bool:
    return isinstance(func, types.FunctionType) and func.__module__ == F.__name__


def opened(func: Any) -> types.FunctionType:
    """The same function, but without the hand-over to the mode, which would call us forever."""
    no = {name: lambda *_: False for name in func.__globals__ if name.startswith("has_torch_function")}
    opened = types.FunctionType(
        func.__code__, func.__globals__ | no, func.__name__, func.__defaults__, func.__closure__
    )
    opened.__kwdefaults__ = func.__kwdefaults__
    return opened
