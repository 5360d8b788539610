"""The network at θ0 on one input, and its tensors as they are underneath transforms of torch.func."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from ntkgap.models.calls import output_tensor
from ntkgap.models.substitution import call_with


@dataclass(frozen=True)
class Evaluation:
    """One call of a network: everything but the parameters that it is linearized in.

    Attributes:
        network: modules in their modes; the tensors they hold are not used.
        names: of the parameters that it is linearized in.
        start: their values θ0.
        constants: all other parameters and buffers.
        arguments: positional and keyword arguments.
        writes: whether the network writes into tensors that it is given: it gets copies then.
    """

    network: nn.Module
    names: tuple[str, ...]
    start: tuple[Tensor, ...]
    constants: dict[str, Tensor]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    writes: bool = False

    def outputs(self, *values: Tensor) -> Tensor:
        """f(x; θ) for one value of each parameter."""
        held, (args, kwargs) = self.constants | dict(zip(self.names, values, strict=True)), self.arguments
        if self.writes:
            held, args, kwargs = tree.tree_map_only(Tensor, torch.clone, (held, args, kwargs))
        return output_tensor(self.network, call_with(self.network, held, args, kwargs))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Evaluation":
        """The same with other tensors."""
        start, constants, arguments = tree.tree_map_only(
            Tensor, change, (self.start, self.constants, self.arguments)
        )
        return replace(self, start=start, constants=constants, arguments=arguments)

    def inputs(self) -> list[Tensor]:
        """The tensors among the arguments."""
        return [leaf for leaf in tree.tree_leaves(self.arguments) if isinstance(leaf, Tensor)]

    def kind(self) -> Hashable:
        """What is the same for inputs that take the same way through the network, as far as can be seen."""
        leaves, structure = tree.tree_flatten(self.arguments)
        grad = torch.is_grad_enabled()  # torch has faster layers without derivatives
        at = (self.start[0].dtype, self.start[0].device)
        shape = str(structure)  # older releases of torch cannot hash a TreeSpec
        return shape, grad, at, torch.get_default_dtype(), tuple(_traits(leaf, grad) for leaf in leaves)


def _traits(leaf: Any, grad: bool) -> Hashable:
    if isinstance(leaf, Tensor):
        n, sizes = (None, None) if leaf.is_nested or leaf.ndim == 0 else (leaf.shape[0], leaf.shape[1:])
        return leaf.dtype, leaf.device, leaf.layout, n == 1, sizes, grad and leaf.requires_grad
    if isinstance(leaf, bool | int | float | str):
        return leaf
    return type(leaf).__qualname__


def underneath(tensor: Tensor) -> Tensor:
    """The values of a tensor without graph or tangent; within ``torch.func.vmap``, those of the first entry."""
    inside = torch._C._functorch
    while inside.is_functorch_wrapped_tensor(tensor):
        dim = inside.maybe_get_bdim(tensor) if inside.is_batchedtensor(tensor) else None
        tensor = inside.get_unwrapped(tensor)
        tensor = tensor if dim is None else tensor.select(dim, 0)
    return tensor.data


def dot(one: Sequence[Tensor], two: Sequence[Tensor]) -> Tensor:
    """Σ ⟨a, b⟩ over pairs of tensors."""
    return torch.stack([torch.sum(a * b) for a, b in zip(one, two, strict=True)]).sum()
