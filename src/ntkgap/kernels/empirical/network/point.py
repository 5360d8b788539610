"""A network at one point of parameter space, evaluated without touching the module."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.errors import DataError, KernelError, ModelError, NtkgapError
from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.kernels.empirical.network.refusals import refuse_foreign_modules
from ntkgap.kernels.empirical.network.selection import ParameterSelection, select_parameters
from ntkgap.kernels.neutral import neutral
from ntkgap.models.calls import output_tensor
from ntkgap.models.devices import has_float64
from ntkgap.models.substitution import replicate, unwrapped


class Point:
    """The network f(·; θ) at its present parameters, with private leaves to differentiate by.

    The network itself is only read: calls go to replicas of it that hold the leaves. Leaves share the parameters'
    memory but not their identity, so that neither ``requires_grad`` nor ``grad`` of the model is ever touched.
    With ``dtype``, parameters, floating buffers and floating inputs are cast to it. With ``values``, parameters
    are taken from there by name instead of from the model.

    Attributes:
        model: the network.
        leaves: selected parameters, name -> leaf tensor that requires grad.
        constants: the other parameters, and buffers.
        order: names of the model's arguments.
    """

    def __init__(
        self,
        model: nn.Module,
        selection: ParameterSelection = None,
        dtype: torch.dtype | None = None,
        values: Mapping[str, Tensor] | None = None,
    ) -> None:
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise KernelError(f"dtype must be a floating-point type such as torch.float64, got {dtype!r}")
        if not isinstance(model, nn.Module):
            raise ModelError(f"a network is an nn.Module, got {type(model).__name__}")
        self.model, self.dtype = unwrapped(model), dtype
        refuse_foreign_modules(self.model)
        _refuse_without_float64(self.model, dtype)
        selected = select_parameters(self.model, selection)
        if values is not None:
            selected = {name: _value(values, name, p) for name, p in selected.items()}
        values = values or {}
        # A table with max_norm is rescaled in place whenever it is read: that must happen to a copy.
        own = any(getattr(m, "max_norm", None) is not None for m in self.model.modules())
        with neutral():
            cast = {name: self._cast(p) for name, p in selected.items()}
            self.leaves = {name: (p.clone() if own else p).requires_grad_() for name, p in cast.items()}
            frozen = {
                name: self._cast(values.get(name, p))
                for name, p in self.model.named_parameters()
                if name not in selected
            }
            frozen = {name: p.clone() for name, p in frozen.items()} if own else frozen
            # Buffers are cloned: a layer that updates its running statistics must not change the model's.
            buffers = {name: self._cast(values.get(name, b)).clone() for name, b in self.model.named_buffers()}
        self.constants = frozen | buffers
        # Tensors that are neither parameters nor buffers are copied, too: a forward may count in them.
        self._base = _with_dense_gradients(replicate(self.model, self.constants | self.leaves, copied=True))
        try:
            self.order = tuple(inspect.signature(self.model.forward).parameters)
        except (TypeError, ValueError):  # a forward written in C
            self.order = ()
        reference = next(iter(self.leaves.values()))
        self.device, self.float_dtype = reference.device, reference.dtype

    def _cast(self, tensor: Tensor) -> Tensor:
        tensor = tensor.clone() if tensor.is_inference() else tensor
        tensor = tensor.detach()
        return tensor.to(self.dtype) if self.dtype and tensor.is_floating_point() else tensor

    def inputs(self, x: Any, name: str = "x") -> Inputs:
        """Check the inputs ``x`` and cast them to the point's dtype.

        Raises:
            DataError: if they are empty, or of another dtype or device than the model.
        """
        with neutral():
            found = Inputs.of(x, name, self.order).map(self._checked)
            return found if not found.lengths else found.of_length(self._examples(found))

    def _examples(self, x: Inputs) -> int:
        """How many examples there are in tensors of several lengths: as many as the model returns rows.

        Raises:
            DataError: if it does not take them.
        """
        model = replicate(self._base)
        try:
            args, kwargs = x.map(lambda tensor, _: tensor.clone()).arguments(model)
            with torch.enable_grad():  # some networks differentiate by their inputs
                return len(output_tensor(self.model, model(*args, **kwargs)))
        except (RuntimeError, ValueError, IndexError, TypeError, KeyError) as error:
            if isinstance(error, NtkgapError):
                raise
            raise DataError(
                f"{type(self.model).__name__} does not take tensors of these lengths, {x.lengths} ({error}); each "
                "must hold an entry an example, or be shared by all"
            ) from error

    def _checked(self, x: Tensor, name: str) -> Tensor:
        if x.device != self.device:
            raise DataError(f"{name} is on {x.device}, the model on {self.device}; move one of them: x.to(...)")
        wanted, x = x.requires_grad, self._cast(x)
        if wanted:  # networks may differentiate by inputs that ask for it
            x.requires_grad_()
        if x.is_floating_point() and x.dtype != self.float_dtype:
            raise DataError(
                f"{name} is {x.dtype}, the model's parameters are {self.float_dtype}; "
                f"convert with x.to({self.float_dtype}), or pass dtype= to cast both"
            )
        return x

    def __call__(self, x: Inputs, leaves: dict[str, Tensor] | None = None) -> Tensor:
        """f(x; θ), [n, C] with outputs of any shape flattened row by row, at the point's leaves or at others."""
        model = replicate(self._base, leaves)
        # A copy: layers may write into what they are given.
        args, kwargs = x.map(lambda tensor, _: tensor.clone()).arguments(model)
        try:
            with neutral():
                out = model(*args, **kwargs)
        except NtkgapError:
            raise
        except (RuntimeError, ValueError, IndexError, TypeError, KeyError) as error:
            if leaves is None:  # else torch.func is at work, whose errors are not of the inputs
                self._explain(x, args, error)
            raise
        return self._matrix(out, x)

    def values(self, x: Inputs) -> Tensor:
        """f(x; θ), [n, C], without a graph. It is recorded, for some networks differentiate by their inputs."""
        with torch.enable_grad():
            return self(x).detach()

    def _explain(self, x: Inputs, args: tuple, error: Exception) -> None:
        """Say what is wrong with the inputs, where the model's own error does not."""
        if len(args) == 1 and isinstance(args[0], dict):
            raise DataError(
                f"{type(self.model).__name__} has no arguments called {', '.join(map(repr, args[0]))} and does "
                f"not take a dict either ({error}); name the keys as its arguments"
            ) from error
        name, text = type(self.model).__name__, str(error)
        dtypes = ", ".join(dict.fromkeys(str(leaf.dtype) for leaf in x.own_leaves()))
        if not x.floating and "type" in text:
            raise DataError(
                f"the inputs are {dtypes} but {name} computes in {self.float_dtype} ({text}); convert with "
                f"x.to({self.float_dtype})"
            ) from error
        if self.dtype is not None and "dtype" in text:
            raise ModelError(
                f"{name} does not compute in {self.dtype} ({text}): its forward casts to another type; "
                "leave dtype= out, or take the casts from the forward"
            ) from error
        if x.floating and "indices" in text:
            raise DataError(
                f"the inputs are {dtypes} but {name} looks them up in a table ({text}); convert with x.long()"
            ) from error
        if x.shared:
            raise DataError(
                f"{name} does not take these inputs ({text}); note that {', '.join(x.shared)} "
                f"{'has' if len(x.shared) == 1 else 'have'} another first axis than {len(x)} and "
                f"{'is' if len(x.shared) == 1 else 'are'} shared by all examples"
            ) from error
        if any(words in text for words in ("shapes cannot be multiplied", "to have", "size", "shape")):
            shapes = ", ".join(_with_n(leaf, len(x)) for leaf in x.own_leaves())
            raise DataError(
                f"{name} does not take inputs of shape {shapes}, n = {len(x)} (some of yours, to try it): {text}. "
                "A tensor whose first axis is that of the examples is taken apart: keep in a buffer what all "
                "examples share. A model that needs a certain number of examples has no kernel"
            ) from error

    def _matrix(self, out: object, x: Inputs) -> Tensor:
        found = output_tensor(self.model, out)
        if not found.is_floating_point():
            raise ModelError(
                f"{type(self.model).__name__} returns {found.dtype}; outputs must be real floating-point numbers "
                "(scores, not the numbers of classes; real and imaginary parts side by side, torch.view_as_real)"
            )
        if found.ndim == 0 or found.shape[0] != len(x):
            shapes = ", ".join(_with_n(leaf, len(x)) for leaf in x.own_leaves())
            raise ModelError(
                f"{type(self.model).__name__} maps inputs {shapes} to outputs {_with_n(found, len(x))}; outputs "
                "must have one row an example, [n, ...]"
            )
        return found.flatten(1) if found.ndim > 1 else found[:, None]


def _refuse_without_float64(model: nn.Module, dtype: torch.dtype | None) -> None:
    if dtype != torch.float64:
        return
    for p in model.parameters():
        if not has_float64(p.device):
            raise KernelError(
                f"{p.device.type} has no float64; move the model and the inputs to the CPU (.cpu()), "
                "or leave dtype= out"
            )


def _with_n(tensor: Tensor, n: int) -> str:
    """The shape, with n for the number of examples."""
    sizes = ["n" if k == 0 and size == n else str(size) for k, size in enumerate(tensor.shape)]
    return f"[{', '.join(sizes)}]"


def _value(values: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    if name not in values or values[name].shape != like.shape:
        got = tuple(values[name].shape) if name in values else "nothing"
        raise KernelError(f"parameter {name!r} needs a value of shape {tuple(like.shape)}, got {got}")
    return values[name]


def _with_dense_gradients(replica: nn.Module) -> nn.Module:
    """Tables whose gradients are dense."""
    for module in replica.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False
    return replica


def check_finite(outputs: Tensor, model: nn.Module) -> None:
    """Refuse outputs that are NaN or infinite, naming the first bad example."""
    bad = (~torch.isfinite(outputs)).any(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ModelError(
            f"{type(model).__name__} returned NaN or infinite outputs for {int(bad.sum())} of {len(bad)} "
            f"examples, the first at index {first}; check that input and the parameters"
        )
