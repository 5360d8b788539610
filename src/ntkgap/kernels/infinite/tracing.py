"""The computation graph of an ordinary torch model, with the shape of every value at hand while it is traced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from ntkgap.errors import ModelError
from ntkgap.models.scales import Antisymmetric


class ShapedProxy(fx.Proxy):
    """A traced value that knows what it is on an example, so that models may ask for shapes.

    The number of examples alone stays symbolic: ``x.view(x.shape[0], -1)`` is recorded, not fixed.
    """

    value: Any

    @property
    def shape(self) -> tuple[Any, ...]:
        """Sizes on the example, the first one traced."""
        return (self.size(0), *self.value.shape[1:])

    def size(self, axis: int | None = None) -> Any:
        """As ``Tensor.size``."""
        if axis is None:
            return self.shape
        if axis % self.value.ndim:
            return self.value.shape[axis]
        return self.tracer.create_proxy("call_method", "size", (self, 0), {})

    @property
    def ndim(self) -> int:
        """As ``Tensor.ndim``."""
        return self.value.ndim

    def dim(self) -> int:
        """As ``Tensor.dim``."""
        return self.value.ndim

    @property
    def dtype(self) -> torch.dtype:
        """As ``Tensor.dtype``."""
        return self.value.dtype

    @property
    def device(self) -> torch.device:
        """As ``Tensor.device``."""
        return self.value.device

    def __len__(self) -> int:
        raise ModelError(
            "the model asks for the number of examples as a Python number; use x.shape[0] in tensor ops"
        )


class ShapedTracer(fx.Tracer):
    """``torch.fx`` tracing that runs every step on examples as it goes.

    Args:
        example: inputs [b, ...].
        is_leaf: whether a module is kept as one step.
    """

    def __init__(self, example: Tensor, is_leaf: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self.example, self._is_leaf = example, is_leaf
        self._running = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Ask the rules; they may run the module to find out."""
        with self._not_tracing():
            return self._is_leaf(m)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Of an antisymmetric network, follow one copy: the other has the same weights at the start."""
        if self._running:
            return forward(*args, **kwargs)
        if isinstance(m, Antisymmetric):
            return self.create_proxy("call_function", difference_of_copies, (m.plus(*args, **kwargs),), {})
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Parameters are themselves until a traced value meets them."""
        return attr_val

    def proxy(self, node: fx.Node) -> ShapedProxy:
        """Traced values carry the value on the example."""
        return ShapedProxy(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **named: Any) -> Any:
        """Record a step and run it on the example."""
        traced: Any = super().create_proxy(kind, target, args, kwargs, *more, **named)
        if kind == "placeholder":
            if any(node.op == "placeholder" and node is not traced.node for node in self.graph.nodes):
                raise ModelError("the model takes several inputs; infinite-width kernels need one, [n, ...]")
            traced.value = self.example
        elif kind in ("call_function", "call_method", "call_module"):
            traced.value = self._run(kind, target, _example_values(args), _example_values(kwargs))
        if hasattr(traced, "value"):
            traced.node.meta["value"] = traced.value
        return traced

    def _run(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one step on the example; modules that it calls are run, not traced."""
        with self._not_tracing(), torch.no_grad():
            if kind == "call_function":
                return target(*args, **kwargs)
            if kind == "call_module":
                return self.root.get_submodule(target)(*args, **kwargs)
            return getattr(args[0], target)(*args[1:], **kwargs)

    @contextmanager
    def _not_tracing(self) -> Iterator[None]:
        """Modules called inside are run."""
        before, self._running = self._running, True
        try:
            yield
        finally:
            self._running = before


def difference_of_copies(x: Tensor) -> Tensor:
    """(g(x; θ) − g(x; θ'))/√2 for θ' = θ, as long as nothing is trained."""
    return torch.zeros_like(x)


def attribute(root: nn.Module, target: str) -> Any:
    """What a dotted name means, from a module on."""
    value: Any = root
    for name in target.split("."):
        value = getattr(value, name)
    return value


def _example_values(tree: Any) -> Any:
    return fx.node.map_aggregate(tree, lambda leaf: leaf.value if isinstance(leaf, ShapedProxy) else leaf)


def trace(model: nn.Module, example: Tensor, is_leaf: Callable[[nn.Module], bool]) -> fx.Graph:
    """Record the steps of a model on an example.

    Args:
        model: the network, held by a module that is not itself a step.
        example: a few inputs [b, ...].
        is_leaf: whether a module is kept as one step.

    Raises:
        ModelError: if the model does not accept the example, or its path depends on the values of the input.
    """
    try:
        return ShapedTracer(example, is_leaf).trace(model)
    except ModelError:
        raise
    except fx.proxy.TraceError as error:
        raise ModelError(
            f"{_name(model)} decides on its path or its shapes by what its input is ({error}); networks with "
            "input-dependent routing have no known infinite-width kernel, use monte_carlo_kernel"
        ) from error
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ModelError(
            f"{_name(model)} cannot be followed on an input of shape {('n', *example.shape[1:])}: {error}"
        ) from error


def _name(root: nn.Module) -> str:
    return type(next(root.children())).__name__
