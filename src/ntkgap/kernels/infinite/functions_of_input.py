"""What a model does to its input before the first random weights: plain functions of the data, run as they are."""

from collections.abc import Callable, Mapping
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

    def _constant_like(self, node: fx.Node, like: Tensor) -> Any:
        """The same in the type of the arithmetic, where it is a floating-point tensor."""
        value = self.constant(node)
        return value.to(like) if isinstance(value, Tensor) and value.is_floating_point() else value

    def __call__(self, x: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
        """Values on inputs [n, ...], by name of the step; ``dtype`` is that of the arithmetic."""
        like = x.new_empty(0, dtype=dtype)
        if any(node.meta.get("overwrites") for node in self._nodes):
            x = x.clone()
        values: dict[fx.Node, Any] = {}
        for node in self._nodes:
            values[node] = self._run(node, x, like, values)
        return {node.name: value for node, value in values.items() if isinstance(value, Tensor)}

    @property
    def entries(self) -> int:
        """Numbers that all these values hold for one input; views of others hold none."""
        values = [node.meta["value"] for node in self._nodes]
        own = {v.untyped_storage().data_ptr(): v for v in values if isinstance(v, Tensor)}
        return sum(v.numel() for v in own.values()) // max(1, len(values[0]))

    def check(self, example: Tensor, lifted: Mapping[str, int]) -> None:
        """Refuse steps that mix the examples or draw random numbers.

        Args:
            example: at least two inputs [b, ...].
            lifted: axis of the examples, by name of the steps whose values enter the recursion.

        Raises:
            ModelError: naming the step.
        """
        dtype = example.dtype if example.is_floating_point() else next(self._root.parameters()).dtype
        together, again, alone = (self(x, dtype) for x in (example, example, example[:1]))
        for name, value in together.items():
            if not _same(value, again[name]):
                raise ModelError(
                    f"the step {name!r} before the first layer of weights draws random numbers; its kernel would "
                    "be another one at every call"
                )
            axis = lifted.get(name, _batch_axis(value, alone[name], len(example)))
            if axis is not None and not _same(value.narrow(axis, 0, 1), alone[name]):
                raise ModelError(
                    f"the step {name!r} before the first layer of weights mixes the examples of a batch: what it "
                    "makes of one depends on the others. Do it to the data beforehand"
                )

    def _run(self, node: fx.Node, x: Tensor, like: Tensor, values: dict[fx.Node, Any]) -> Any:
        if node.op == "placeholder":
            return x
        if node.op == "call_method" and node.target == "size" and node.args[0] not in values:
            return len(x)  # the size of a random signal; only the number of examples is symbolic
        args, kwargs = arguments(node, lambda n: values[n] if n in values else self._constant_like(n, like))
        if node.op == "call_module":
            module = self._root.get_submodule(str(node.target))
            buffers = {name: b.to(like) for name, b in module.named_buffers() if b.is_floating_point()}
            return call_with(module, buffers, args, kwargs) if buffers else module(*args, **kwargs)
        if node.op == "call_function":
            return node.target(*args, **kwargs)  # type: ignore[operator]
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)


def arguments(node: fx.Node, value_of: Callable[[fx.Node], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a traced step with other steps replaced by their values."""
    args: Any = fx.node.map_arg(node.args, value_of)
    kwargs: Any = fx.node.map_arg(node.kwargs, value_of)
    return args, kwargs


def _batch_axis(together: Tensor, alone: Tensor, examples: int) -> int | None:
    """The axis that has as many entries as there are examples, if there is one."""
    shape = list(together.shape)
    for axis in range(together.ndim):
        if shape[axis] == examples and [*shape[:axis], 1, *shape[axis + 1 :]] == list(alone.shape):
            return axis
    return 0 if shape and shape[0] == examples and not _same(together, alone) else None


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal up to rounding."""
    if a.shape != b.shape or not a.is_floating_point():
        return a.shape == b.shape and torch.equal(a, b)
    scale = float(a.abs().max()) if a.numel() else 0.0
    return bool(torch.allclose(a, b, rtol=1e-4, atol=1e-6 * scale, equal_nan=True))
