"""A network at one point of parameter space, evaluated without touching the module."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ntkgap.errors import DataError, KernelError, ModelError
from ntkgap.kernels.empirical.selection import ParameterSelection, select_parameters
from ntkgap.models.substitution import call_with


class Point:
    """The network f(·; θ) at its present parameters, with private leaves to differentiate by.

    The leaves share the parameters' memory but not their identity, so that neither ``requires_grad`` nor
    ``grad`` of the model is ever touched. With ``dtype``, parameters, floating buffers and floating inputs
    are cast to it. With ``values``, parameters are taken from there by name instead of from the model.

    Attributes:
        model: the network.
        leaves: selected parameters, name -> leaf tensor that requires grad.
    """

    def __init__(
        self,
        model: nn.Module,
        selection: ParameterSelection = None,
        dtype: torch.dtype | None = None,
        values: Mapping[str, Tensor] | None = None,
    ) -> None:
        if dtype is not None and not dtype.is_floating_point:
            raise KernelError(f"dtype must be a floating-point type, got {dtype}")
        if torch.is_inference_mode_enabled():
            raise KernelError(
                "kernels need gradients, which torch.inference_mode() rules out; call from outside of it "
                "(torch.no_grad() does no harm)"
            )
        self.model, self.dtype = model, dtype
        selected = select_parameters(model, selection)
        if values is not None:
            selected = {name: _value(values, name, p) for name, p in selected.items()}
        # A table with max_norm is rescaled in place whenever it is read: that must happen to a copy.
        own = any(getattr(m, "max_norm", None) is not None for m in model.modules())
        cast = {name: self._cast(p) for name, p in selected.items()}
        self.leaves = {name: (p.clone() if own else p).requires_grad_() for name, p in cast.items()}
        values = values or {}
        frozen = {
            name: self._cast(values.get(name, p)) for name, p in model.named_parameters() if name not in selected
        }
        # Buffers are cloned: a layer that updates its running statistics must not change the model's.
        self.buffers = {name: self._cast(values.get(name, b)).clone() for name, b in model.named_buffers()}
        self.constants = frozen | self.buffers
        reference = next(iter(self.leaves.values()))
        self.device, self.float_dtype = reference.device, reference.dtype

    def _cast(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach()
        return tensor.to(self.dtype) if self.dtype and tensor.is_floating_point() else tensor

    def inputs(self, x: Tensor, name: str = "x") -> Tensor:
        """Check the inputs ``x`` and cast them to the point's dtype."""
        if not isinstance(x, Tensor):
            raise DataError(f"{name} must be a torch.Tensor of shape [n, ...], got {type(x).__name__}")
        if x.ndim == 0 or x.shape[0] == 0:
            raise DataError(f"{name} has shape {tuple(x.shape)}; at least one example [n, ...] is needed")
        if x.device != self.device:
            raise DataError(f"{name} is on {x.device}, the model on {self.device}; move one of them: x.to(...)")
        x = self._cast(x)
        if x.is_floating_point() and x.dtype != self.float_dtype:
            raise DataError(
                f"{name} is {x.dtype}, the model's parameters are {self.float_dtype}; "
                f"convert with x.to({self.float_dtype}), or pass dtype= to cast both"
            )
        return x

    def __call__(self, x: Tensor, leaves: dict[str, Tensor] | None = None) -> Tensor:
        """f(x; θ), [n, C], at the point's own leaves or at others of the same shapes."""
        tensors = self.constants | (self.leaves if leaves is None else leaves)
        try:
            with _recurrent_weights(self.model, tensors):
                out = call_with(self.model, tensors, (x,))
        except RuntimeError as error:
            if not x.is_floating_point() and "type" in str(error):
                raise DataError(
                    f"the inputs are {x.dtype} but {type(self.model).__name__} computes in "
                    f"{self.float_dtype} ({error}); convert with x.to({self.float_dtype})"
                ) from error
            if x.is_floating_point() and "indices" in str(error):
                raise DataError(
                    f"the inputs are {x.dtype} but {type(self.model).__name__} looks them up in a table "
                    f"({error}); convert with x.long()"
                ) from error
            raise
        return self._matrix(out, x)

    def _matrix(self, out: object, x: Tensor) -> Tensor:
        name = type(self.model).__name__
        if not isinstance(out, Tensor):
            raise ModelError(
                f"{name} returned {type(out).__name__}; a tensor [n] or [n, C] is needed: "
                "wrap the model so that it returns only the outputs the kernel is for"
            )
        if out.ndim not in (1, 2) or out.shape[0] != x.shape[0]:
            raise ModelError(
                f"{name} maps inputs {_with_n(x, len(x))} to outputs {_with_n(out, len(x))}; outputs must "
                "be [n] or [n, C], one row an example: flatten, e.g. nn.Sequential(model, nn.Flatten())"
            )
        return out if out.ndim == 2 else out[:, None]


def _with_n(tensor: Tensor, n: int) -> str:
    """The shape, with n for the number of examples."""
    sizes = ["n" if k == 0 and size == n else str(size) for k, size in enumerate(tensor.shape)]
    return f"[{', '.join(sizes)}]"


def _value(values: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    if name not in values or values[name].shape != like.shape:
        got = tuple(values[name].shape) if name in values else "nothing"
        raise KernelError(f"parameter {name!r} needs a value of shape {tuple(like.shape)}, got {got}")
    return values[name]


def check_finite(outputs: Tensor, model: nn.Module) -> None:
    """Refuse outputs that are NaN or infinite, naming the first bad example."""
    bad = (~torch.isfinite(outputs)).any(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ModelError(
            f"{type(model).__name__} returned NaN or infinite outputs for {int(bad.sum())} of {len(bad)} "
            f"examples, the first at index {first}; check that input and the parameters"
        )


@contextmanager
def _recurrent_weights(model: nn.Module, tensors: dict[str, Tensor]) -> Iterator[None]:
    """Let nn.RNN, nn.LSTM and nn.GRU see swapped parameters: they keep a private list of their weights."""
    changed: list[tuple[nn.RNNBase, list]] = []
    aliases = None
    try:
        for prefix, module in model.named_modules():
            if isinstance(module, nn.RNNBase):
                if aliases is None:
                    first = {id(p): name for name, p in model.named_parameters()}
                    aliases = {n: first[id(p)] for n, p in model.named_parameters(remove_duplicate=False)}
                dot = prefix + "." if prefix else ""
                if any(dot + n not in aliases for n in module._flat_weights_names):
                    continue  # a computed weight (weight_norm), which the module itself puts in place
                changed.append((module, module._flat_weights))
                module._flat_weights = [tensors[aliases[dot + n]] for n in module._flat_weights_names]
        yield
    finally:
        for module, weights in changed:
            module._flat_weights = weights
