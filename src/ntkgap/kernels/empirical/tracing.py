"""See every use that a forward pass makes of a parameter.

A network is run once under a ``TorchFunctionMode`` (one thread sees it, nothing is patched). Tensors are of three
kinds: from the data, from parameters alone, and constants. Every torch function that receives a parameter, or what
was made of parameters alone, passes through :class:`Recorder`:

* a function of parameters alone that only rearranges or rescales one (``weight.t()``, ``0.5 * bias``, a chunk,
  rows of a table of positions) gives a :class:`~ntkgap.kernels.empirical.parts.Part`, which stands for the
  parameter from then on; any other gives a :class:`~ntkgap.kernels.empirical.parts.Derived` tensor (a pruned or
  normalized weight), whose gradient is passed on to the parameters;
* a function of data and parameters with a rule (see ``rules``) gives a :class:`Use`: what the layer saw and the
  place in autograd's graph where the gradient with respect to its output arrives. One without a rule of its own is
  differentiated example by example, alone (``rules.local``);
* a Python function of ``torch.nn.functional`` is entered, so that multi-head attention becomes the linear maps it
  is made of; fused recurrent layers are unrolled into theirs.

What none of this fits is put on the list of parameters that need the fallback. Uses are counted by the tensors,
not by modules: functional layers, tied weights and modules called twice need no special care.
"""

import contextlib
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.kernels.empirical.network.point import Point, check_finite
from ntkgap.kernels.empirical.network.refusals import refuse_reentrant_checkpoint
from ntkgap.kernels.empirical.parts import Derived, Part, rearranged
from ntkgap.kernels.empirical.rules import COPIES, RULES, UNROLLED, Call, record_local

# What a rule may stumble over when it meets something it was not made for.
STUMBLES = (
    RuntimeError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    ZeroDivisionError,
    UserWarning,  # of torch, about its speed, where the user has made errors of warnings
)


# By the coarsest arithmetic that the network does: some layers compute in float32 whatever they are given.
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}


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


@dataclass
class Trace:
    """What one forward pass did with the parameters.

    Attributes:
        x: the inputs.
        outputs: f(x; θ) with its graph, [n, C].
        uses: every use of a selected parameter by a function that has a rule.
        unknown: parameter -> the torch function without a rule that used it.
        sizes: first axes that may be that of the examples, see ``Recorder``.
        precision: the coarsest type of arithmetic on the way from the inputs to the outputs.
    """

    x: Inputs
    outputs: Tensor
    uses: list[Use]
    unknown: dict[str, str]
    sizes: list[int]
    precision: torch.dtype

    @property
    def tolerance(self) -> float:
        """Relative error up to which gradients are taken to be the same."""
        return TOLERANCE.get(self.precision, 1e-2)

    @property
    def signature(self) -> tuple:
        """What two forward passes of one network have in common if a recipe fits both."""
        return tuple(use.signature for use in self.uses)


class Recorder(TorchFunctionMode):
    """Records the uses of some leaves during a forward pass; see the module's docstring.

    Whether an axis of what does not come from the data is that of the examples is asked where it matters (a class
    token is expanded to the batch, a state starts at zeros). From one pass one can only tell whether it is as
    long; ``sizes`` notes it, for comparison with a pass on another number of examples, and ``decided`` holds the
    outcome.

    Args:
        leaves: the parameters, by name.
        data: the tensors of examples.
        n: how many examples there are.
        decided: for each time that is asked, whether the axis is that of the examples.
        model: the network, for messages.
    """

    def __init__(
        self,
        leaves: dict[str, Tensor],
        data: list[Tensor],
        n: int,
        decided: tuple[bool, ...] | None,
        model: nn.Module,
    ) -> None:
        super().__init__()
        self.parts: dict[int, Part] = {id(leaf): Part(name, leaf) for name, leaf in leaves.items()}
        self.uses: list[Use] = []
        self.unknown: dict[str, str] = {}
        self.sizes: list[int] = []
        self.coarsest: torch.dtype | None = None
        self._leaves, self._n, self._decided, self._derived = leaves, n, decided, 0
        self._model = model
        self._token = object()  # not the recorder: autograd's graph would keep it, and it the graph
        for tensor in data:
            self._mark(tensor)

    def __torch_function__(self, func: Callable, _types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = tensors_in((args, kwargs))
        touched = {id(t): self.parts[id(t)] for t in given if id(t) in self.parts}
        if touched and _is_composite(func):
            with self:
                return opened(func)(*args, **kwargs)
        from_data = any(self._is_data(t) for t in given)
        if touched and not from_data:
            from_data = self._is_given_to_examples(func, args, given)
        if touched and not torch.is_grad_enabled():
            refuse_reentrant_checkpoint(self._model)
        call = None
        if touched and from_data:
            unrolled = UNROLLED.get(func)
            if unrolled is not None and unrolled.takes(args):
                with self:
                    return unrolled(*args, **kwargs)
            call = self._call(func, args, kwargs)
        out = func(*args, **kwargs)
        made = tensors_in(out) if out is not None else given[:1]  # x[i] = y changes x
        if from_data:
            for tensor in made:
                self._mark(tensor)
        if not touched or not any(t.requires_grad for t in made):
            return out  # a shape, a flag, a detached value: no gradient flows through it
        if not from_data:
            self._derive(func, args, kwargs, out, made, touched)
        elif call is not None and isinstance(out, Tensor) and _is_plain(out):
            self.uses.append(Use(call, get_gradient_edge(out), out.shape))
        else:
            for part in touched.values():
                for name in part.names:
                    self.unknown.setdefault(name, getattr(func, "__name__", str(func)))
        return out

    def _call(self, func: Callable, args: tuple, kwargs: dict) -> Call | None:
        """What a rule notes of the call; one in a form that it does not know is a call without a rule."""
        if func in RULES:
            with contextlib.suppress(*STUMBLES):
                call = RULES[func].record(self.parts, args, kwargs)
                if call is not None:
                    return call
        with contextlib.suppress(*STUMBLES):
            return record_local(self.parts, func, args, kwargs, self._is_data)
        return None

    def _is_given_to_examples(self, func: Callable, args: tuple, given: list[Tensor]) -> bool:
        """Whether a function of parameters and constants gives each example a copy, or a state of its own."""
        if func in COPIES:
            shape = func(*(t.detach() if isinstance(t, Tensor) else t for t in args)).shape
            return sum(self._is_of_examples(size) for size in shape) > 0  # all are asked
        if func in RULES:
            constants = [t for t in given if id(t) not in self.parts and t.ndim > 1]
            return sum(self._is_of_examples(size) for t in constants for size in t.shape) > 0
        return False

    def _is_of_examples(self, size: int) -> bool:
        self.sizes.append(size)
        asked = len(self.sizes) - 1
        if self._decided is not None and asked < len(self._decided):
            return self._decided[asked]
        return size == self._n

    def _derive(
        self, func: Callable, args: tuple, kwargs: dict, out: Any, made: list[Tensor], touched: dict[int, Part]
    ) -> None:
        """Note what was made of parameters alone."""
        only = next(iter(touched.values()))
        if len(touched) == 1 and not isinstance(only, Derived) and out is not None:
            parts = None
            with contextlib.suppress(*STUMBLES):
                parts = rearranged(only, func, args, kwargs, out)
            if parts is not None:
                self.parts |= parts
                return
        names = sorted({name for part in touched.values() for name in part.names})
        leaves = {name: self._leaves[name] for name in names}
        for tensor in made:
            if tensor.requires_grad:
                label = f"{' + '.join(names)} ({self._derived})"
                self._derived += 1
                self.parts[id(tensor)] = Derived(label, tensor, leaves=leaves)

    def _mark(self, tensor: Tensor) -> None:
        """Remember that a tensor is from the data: on itself, as there is nothing else that lives as long."""
        tensor._ntkgap_data = self._token  # type: ignore[attr-defined]
        self.parts.pop(id(tensor), None)
        if tensor.is_floating_point() and (
            self.coarsest is None or torch.finfo(tensor.dtype).eps > torch.finfo(self.coarsest).eps
        ):
            self.coarsest = tensor.dtype

    def _is_data(self, tensor: Tensor) -> bool:
        return getattr(tensor, "_ntkgap_data", None) is self._token


def trace(point: Point, x: Inputs, decided: tuple[bool, ...] | None = None) -> Trace:
    """Run the network once and note every use of the point's leaves."""
    recorder = Recorder(point.leaves, x.own_leaves(), len(x), decided, point.model)
    with torch.enable_grad(), recorder:
        outputs = point(x)
    check_finite(outputs.detach(), point.model)
    precision = recorder.coarsest or outputs.dtype
    return Trace(x, outputs, recorder.uses, recorder.unknown, recorder.sizes, precision)


def _is_plain(tensor: Tensor) -> bool:
    """Whether gradients that arrive at a tensor are real, and are tensors outside of ``torch.func``."""
    return not tensor.is_complex() and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)


_NESTS = (tuple, list, dict)  # not written as a union, which would be made anew at each of very many calls


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    if isinstance(tree, Tensor):
        return [tree]
    found: list[Tensor] = []
    if isinstance(tree, _NESTS):
        for branch in tree.values() if isinstance(tree, dict) else tree:
            if isinstance(branch, Tensor):
                found.append(branch)
            elif isinstance(branch, _NESTS):
                found += tensors_in(branch)
    return found


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
