"""The computation graph of an ordinary torch model, with the value of every step on an example at hand."""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import is_parametrized

from ntkgap.errors import ModelError
from ntkgap.models.output_scale import Antisymmetric
from ntkgap.models.substitution import replicate


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
    """Records the steps of a network and runs each on examples as it goes.

    ``fx.Tracer.trace`` would replace ``nn.Module.__call__`` and functions of ``math`` for the whole process. Here
    the modules of a private replica call the tracer themselves.

    Args:
        root: a replica that nothing else uses.
        example: inputs [b, ...].
        is_step: whether a module is kept as one step.
    """

    def __init__(self, root: Root, example: Tensor, is_step: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self.root, self.graph, self.tensor_attrs = root, fx.Graph(tracer_cls=ShapedTracer), {}
        self._example, self._is_step, self._running = example, is_step, False
        self._names = {module: name for name, module in root.named_modules()}

    def record(self) -> fx.Graph:
        """The graph of the network."""
        for module in self._names:
            vars(module)["_call_impl"] = partial(self._called, module)  # what ``nn.Module.__call__`` looks up
        try:
            result = self.root(self.create_proxy("placeholder", "x", (), {}))
        finally:
            for module in self._names:
                del vars(module)["_call_impl"]
        self.create_node("output", "output", (self.create_arg(result),), {})
        return self.graph

    def _called(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Record a module as one step, or follow its forward; run it where that is what is going on."""
        if self._running:
            return type(module)._call_impl(module, *args, **kwargs)
        if isinstance(module, Antisymmetric):  # one copy is enough: the other has the same weights at the start
            _refuse_unlike_copies(module)
            copy = module.plus(*args, **kwargs)
            return self.create_proxy("call_function", difference_of_copies, (copy, *args), {})
        with self._not_tracing():  # the rules may run the module to find out
            is_step = self._is_step(module)
        if not is_step:
            return type(module)._call_impl(module, *args, **kwargs)
        name = self._names[module]
        self._refuse_changed(module, Root.name_in_model(name))
        return self.create_proxy("call_module", name, args, kwargs)

    @contextmanager
    def _not_tracing(self) -> Iterator[None]:
        """Modules called inside are run."""
        before, self._running = self._running, True
        try:
            yield
        finally:
            self._running = before

    def create_arg(self, a: Any) -> Any:
        """As ``fx`` does it, but for parameters that the network does not know."""
        if isinstance(a, nn.Parameter) and not any(a is p for p in self.root.parameters()):
            raise ModelError(
                f"the forward pass uses a parameter of shape {tuple(a.shape)} that is not one of the model's "
                "(named_parameters): it is made at every call, or held in a plain list; register its module, for "
                "instance in an nn.ModuleList"
            )
        return super().create_arg(a)

    def proxy(self, node: fx.Node) -> ShapedProxy:
        """Traced values carry the value on the example."""
        return ShapedProxy(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **named: Any) -> Any:
        """Record a step and run it on the example."""
        traced: Any = super().create_proxy(kind, target, args, kwargs, *more, **named)
        node = traced.node
        if kind == "placeholder":
            node.meta["value"] = traced.value = self._example
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
        """Run one step on the example."""
        with self._not_tracing(), torch.no_grad():
            if kind == "call_function":
                return target(*args, **kwargs)
            if kind == "call_module":
                return self.root.get_submodule(target)(*args, **kwargs)
            return getattr(args[0], target)(*args[1:], **kwargs)

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


def trace(model: nn.Module, example: Tensor, is_step: Callable[[nn.Module], bool]) -> tuple[fx.Graph, Root]:
    """Record the steps of a network on an example.

    The network itself is only read: followed is a replica that shares its parameters and copies its buffers.

    Args:
        model: the network.
        example: a few inputs [b, ...].
        is_step: whether a module is kept as one step.

    Returns:
        The graph, and the replica whose modules its steps name.

    Raises:
        ModelError: if the model does not accept the example, or its path depends on the values of the input.
    """
    name = type(model).__name__
    root = Root(model)
    try:
        with torch.enable_grad():
            root = replicate(root, {name: b.detach().clone() for name, b in root.named_buffers()})
            return ShapedTracer(root, example, is_step).record(), root
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
