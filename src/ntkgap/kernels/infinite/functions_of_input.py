"""What a model does to its input before the first random weights: plain functions of the data, run as they are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from ntkgap.errors import ModelError
from ntkgap.kernels.infinite.tracing import attribute
from ntkgap.models.substitution import call_with


class FunctionsOfInput:
    """The steps of a traced model that depend on the input alone.

    Args:
        root: the traced module.
    """

    def __init__(self, root: nn.Module) -> None:
        self._root = root
        self._nodes: list[fx.Node] = []

    def add(self, node: fx.Node) -> None:
        """One more step; those it takes have been added."""
        self._nodes.append(node)

    def constant(self, node: fx.Node) -> Any:
        """A parameter, a buffer, or what a step that sees neither input nor parameters gave on the example."""
        return attribute(self._root, str(node.target)) if node.op == "get_attr" else node.meta["value"]

    def _constant_like(self, node: fx.Node, x: Tensor) -> Any:
        """The same in the type of the inputs, where it is a floating-point tensor."""
        value = self.constant(node)
        return value.to(x) if isinstance(value, Tensor) and value.is_floating_point() else value

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """Values on inputs [n, ...], by name of the step."""
        if any(node.meta.get("overwrites") for node in self._nodes):
            x = x.clone()
        values: dict[fx.Node, Any] = {}
        for node in self._nodes:
            values[node] = self._run(node, x, values)
        return {node.name: value for node, value in values.items() if isinstance(value, Tensor)}

    @property
    def entries(self) -> int:
        """Numbers that all these values hold for one input; views of others hold none."""
        values = [node.meta["value"] for node in self._nodes]
        own = {v.untyped_storage().data_ptr(): v for v in values if isinstance(v, Tensor) and v.ndim}
        return sum(v.numel() // max(1, len(v)) for v in own.values())

    def check(self, example: Tensor) -> None:
        """Refuse steps that mix the examples or draw random numbers.

        Args:
            example: at least two inputs [b, ...].

        Raises:
            ModelError: naming the step.
        """
        together, again, alone = self(example), self(example), self(example[:1])
        for name, value in together.items():
            if not _same(value, again[name]):
                raise ModelError(
                    f"the step {name!r} before the first layer of weights draws random numbers; its kernel would "
                    "be another one at every call"
                )
            if value.ndim and len(value) == len(example) and not _same(value[:1], alone[name]):
                raise ModelError(
                    f"the step {name!r} before the first layer of weights mixes the examples of a batch: what it "
                    "makes of one depends on the others. Do it to the data beforehand"
                )

    def _run(self, node: fx.Node, x: Tensor, values: dict[fx.Node, Any]) -> Any:
        if node.op == "placeholder":
            return x
        if node.op == "call_method" and node.target == "size" and node.args[0] not in values:
            return len(x)  # the size of a random signal; only the number of examples is symbolic
        args, kwargs = arguments(node, lambda n: values[n] if n in values else self._constant_like(n, x))
        if node.op == "call_module":
            module = self._root.get_submodule(str(node.target))
            buffers = {name: b.to(x) for name, b in module.named_buffers() if b.is_floating_point()}
            return call_with(module, buffers, args, kwargs) if buffers else module(*args, **kwargs)
        if node.op == "call_function":
            return node.target(*args, **kwargs)  # type: ignore[operator]
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)


def arguments(node: fx.Node, value_of: Callable[[fx.Node], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a traced step with other steps replaced by their values."""
    args: Any = fx.node.map_arg(node.args, value_of)
    kwargs: Any = fx.node.map_arg(node.kwargs, value_of)
    return args, kwargs


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal up to rounding."""
    if a.shape != b.shape or not a.is_floating_point():
        return a.shape == b.shape and torch.equal(a, b)
    scale = float(a.abs().max()) if a.numel() else 0.0
    return bool(torch.allclose(a, b, rtol=1e-4, atol=1e-6 * scale, equal_nan=True))
