"""Any function of data and parameters: differentiated by itself, example by example."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.func import vjp, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from ntkgap.kernels.empirical.factors import Factor, Rows
from ntkgap.kernels.empirical.parts import Part
from ntkgap.kernels.empirical.rules.base import Batch, Call, Rule


class Local(Rule):
    """∂out/∂p of one call of one function, by automatic differentiation of that call on each example alone.

    Costs what the gradients of the function cost, not what those of the network do. Explicit gradients result.
    """

    functions: tuple[Callable, ...] = ()

    def __init__(self, func: Callable) -> None:
        self.name = getattr(func, "__name__", str(func))
        self.func = func

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Made by :func:`record_local`."""
        return None

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """One backward pass through the function for each output and example, all in one call."""
        leaves, spec, data = call.options["leaves"], call.options["spec"], call.options["data"]
        assert batch.inputs is not None
        # [n, ...] each, with the rows of one example on the axis where the batch has those of all.
        seen = [
            Batch(axis, batch.n, batch.inner).first(x).movedim(1, axis + 1)
            for x, axis in zip(call.inputs, batch.inputs, strict=True)
        ]
        g = batch.first(grad, lead=1).movedim(2, batch.axis + 2)  # [C, n, ...]
        values = [part.tensor.detach() for part in call.roles.values()]

        def of_one(own: list[Tensor], g: Tensor) -> tuple[Tensor, ...]:
            def out(*values: Tensor) -> Tensor:
                filled = list(leaves)
                for place, value in zip((*data, *call.options["places"]), (*own, *values), strict=True):
                    filled[place] = value
                args, kwargs = tree_unflatten(filled, spec)
                return self.func(*args, **kwargs)

            return vmap(vjp(out, *values)[1])(g)

        rows = vmap(of_one, (0, 1))(seen, g)  # [n, C, ...] for each parameter
        pairs = zip(call.roles, rows, strict=True)
        return {role: Rows(found.flatten(2).transpose(0, 1)) for role, found in pairs}


def record_local(
    parts: dict[int, Part], func: Callable, args: tuple, kwargs: dict, is_data: Callable[[Tensor], bool]
) -> Call | None:
    """Note all arguments of a call; None if it writes into one of them."""
    name = getattr(func, "__name__", "")
    if (name.endswith("_") and not name.endswith("__")) or name in ("__setitem__", "__iadd__", "__imul__"):
        return None
    leaves, spec = tree_flatten((args, kwargs))
    data = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and is_data(leaf)]
    places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and id(leaf) in parts]
    roles = {f"argument {k}": parts[id(leaves[k])] for k in places}
    inputs = tuple(leaves[k] for k in data)
    kept: list[Any] = [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    for k in (*data, *places):
        kept[k] = None
    return Call(Local(func), inputs, roles, {"leaves": kept, "spec": spec, "data": data, "places": places})
