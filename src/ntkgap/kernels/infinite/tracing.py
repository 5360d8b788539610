"""The computation graph of an ordinary torch model, with the value of every step on an example at hand."""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import is_parametrized

from ntkgap.errors import ModelError
from ntkgap.models.scales import Antisymmetric


class Root(nn.Module):
    """Holds the model, so that a model that is a single layer is traced like any other."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """The model itself."""
        return self.model(x)

    @staticmethod
    def name_in_model(name: str) -> str:
        """A module's name as the user knows it."""
        return name.removeprefix("model").removeprefix(".")


class ShapedProxy(fx.Proxy):
    """A traced value that knows what it is on the example, so that models may ask for shapes.

    The number of examples alone stays symbolic: ``x.view(x.shape[0], -1)`` is recorded, not fixed.
    """

    value: Any

    def __getattr__(self, name: str) -> Any:
        """Methods and tensors (``x.T``) are recorded; whatever else a tensor has is known."""
        if name == "value":
            raise AttributeError(name)
        found = getattr(self.value, name)
        if callable(found):
            return super().__getattr__(name)
        if isinstance(found, Tensor):
            return self.tracer.create_proxy("call_function", getattr, (self, name), {})
        return found

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

    def __iter__(self) -> Iterator[Any]:
        """Parts of a tuple, as ``chunk`` returns it."""
        if not isinstance(self.value, tuple | list):
            raise ModelError("the model loops over the examples of a batch; it must treat them all in one tensor")
        part = operator.getitem
        return (self.tracer.create_proxy("call_function", part, (self, i), {}) for i in range(len(self.value)))

    def __len__(self) -> int:
        if isinstance(self.value, tuple | list):
            return len(self.value)
        raise ModelError(
            "the model asks for the number of examples as a Python number; use x.shape[0] in tensor ops"
        )


class ShapedTracer(fx.Tracer):
    """``torch.fx`` tracing that runs every step on examples as it goes.

    Args:
        example: inputs [b, ...].
        is_step: whether a module is kept as one step.
    """

    def __init__(self, example: Tensor, is_step: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self.example, self._is_step = example, is_step
        self._running = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Ask the rules; they may run the module to find out."""
        with self._not_tracing():
            if not self._is_step(m):
                return False
        self._refuse_changed(m, Root.name_in_model(module_qualified_name))
        return True

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace a module, or run it where that is what is going on."""
        if self._running:
            return forward(*args, **kwargs)
        if isinstance(m, Antisymmetric):  # one copy is enough: the other has the same weights at the start
            _refuse_unlike_copies(m)
            return self.create_proxy("call_function", difference_of_copies, (m.plus(*args, **kwargs), *args), {})
        if not any(m is module for module in self.root.modules()):  # made in the forward pass
            if any(True for _ in m.parameters()):
                raise ModelError(
                    f"the forward pass makes a new {type(m).__name__} with weights of its own at every call"
                )
            if not self.is_leaf_module(m, type(m).__name__):
                return forward(*args, **kwargs)
            return self.create_proxy("call_function", m, args, kwargs, name=type(m).__name__.lower())
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
        node = traced.node
        if kind == "placeholder":
            if any(other.op == "placeholder" and other is not node for other in self.graph.nodes):
                raise ModelError("the model takes several inputs; infinite-width kernels need one, [n, ...]")
            node.meta["value"] = traced.value = self.example
        elif kind in ("call_function", "call_method", "call_module"):
            node.meta["without_grad"] = not torch.is_grad_enabled()
            operands = [
                (n, n.meta["value"]) for n in node.all_input_nodes if isinstance(n.meta.get("value"), Tensor)
            ]
            versions = [value._version for _, value in operands]
            traced.value = self._run(kind, target, _example_values(args), _example_values(kwargs))
            node.meta["value"] = traced.value
            node.meta["overwrites"] = [
                n for (n, value), version in zip(operands, versions, strict=True) if value._version != version
            ]
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

    @staticmethod
    def _refuse_changed(m: nn.Module, name: str) -> None:
        """Refuse a step that does not do what its class does."""
        what = f"{name!r} ({type(m).__name__})"
        if m._forward_hooks or m._forward_pre_hooks:
            raise ModelError(
                f"{what} has forward hooks, which may change what it computes; remove them (older weight_norm and "
                "spectral_norm are such hooks)"
            )
        if is_parametrized(m):
            raise ModelError(
                f"{what} computes its parameters from others (torch.nn.utils.parametrize); no recursion is known, "
                "use infinite_width_monte_carlo"
            )


def difference_of_copies(copy: Tensor, x: Tensor) -> Tensor:
    """(g(x; θ) − g(x; θ'))/√2 for θ' = θ, as long as nothing is trained; ``copy`` is g(x; θ)."""
    return torch.zeros_like(copy)


def _refuse_unlike_copies(m: Antisymmetric) -> None:
    pairs = zip(m.plus.parameters(), m.minus.parameters(), strict=True)
    if not all(torch.equal(p, q) and p.requires_grad == q.requires_grad for p, q in pairs):
        raise ModelError(
            "the two copies of an Antisymmetric network differ, in their weights or in what is trained; they must "
            "be as they were made"
        )


def attribute(root: nn.Module, target: str) -> Any:
    """What a dotted name means, from a module on."""
    value: Any = root
    for name in target.split("."):
        value = getattr(value, name)
    return value


def _example_values(tree: Any) -> Any:
    return fx.node.map_aggregate(tree, lambda leaf: leaf.value if isinstance(leaf, ShapedProxy) else leaf)


def trace(root: Root, example: Tensor, is_step: Callable[[nn.Module], bool]) -> fx.Graph:
    """Record the steps of a model on an example.

    Args:
        root: holds the network.
        example: a few inputs [b, ...].
        is_step: whether a module is kept as one step.

    Raises:
        ModelError: if the model does not accept the example, or its path depends on the values of the input.
    """
    name = type(root.model).__name__
    try:
        with torch.enable_grad():
            return ShapedTracer(example, is_step).trace(root)
    except ModelError:
        raise
    except fx.proxy.TraceError as error:
        raise ModelError(
            f"{name} decides on its path or its shapes by what its input is ({error}); networks with "
            "input-dependent routing have no known infinite-width kernel, use infinite_width_monte_carlo"
        ) from error
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, NameError) as error:
        raise ModelError(
            f"{name} cannot be followed on an input of shape {('n', *example.shape[1:])}, any number n of "
            f"which it must take ({len(example)} here): {error}"
        ) from error
