"""Call a network with other tensors in place of its own, without leaving a trace on it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


class Substitution:
    """A network that is called with other tensors in place of its own, many times.

    Does what ``torch.func.functional_call`` does for tied weights: one value goes to all places that hold the
    same tensor. Unlike it, it also restores a module that sits at several paths: ``functional_call`` swaps once
    for every path, and the second time takes the value it has just put there for the original.

    Args:
        module: any network, whose tensors stay in their places; they are its own again when a call returns or
            raises.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module, self._places = module, places(module)

    def __call__(
        self, tensors: Mapping[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What the module returns with ``tensors`` in place of its parameters and buffers of these names.

        Args:
            tensors: name -> tensor, the names as in ``named_parameters`` and ``named_buffers``; whatever is not
                among them stays as it is.
            args: positional arguments of the call.
            kwargs: its keyword arguments.
        """
        given = {name: tensors[shared] for name, shared in self._places.items() if shared in tensors}
        return functional_call(self.module, given, args, kwargs, tie_weights=False)


def call_with(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
) -> Any:
    """Call a module once with other tensors in place of its own; see ``Substitution``."""
    return Substitution(module)(tensors, args, kwargs)


def places(module: nn.Module) -> dict[str, str]:
    """Where a module holds its tensors: one name of each place -> the name of the tensor that is there.

    A place is an entry in a submodule's table of parameters or buffers, whatever number of paths lead to it.
    Several places may hold one tensor, which goes by the name that ``named_parameters`` or ``named_buffers``
    gives it.
    """
    found: dict[str, str] = {}
    first: dict[Tensor, str] = {}
    for kind in ("_parameters", "_buffers"):
        seen: set[int] = set()
        for path, submodule in module.named_modules():
            table = getattr(submodule, kind)
            if id(table) in seen:  # a shallow copy of a module shares its tables
                continue
            seen.add(id(table))
            for key, tensor in table.items():
                if tensor is not None:
                    name = f"{path}.{key}" if path else key
                    found[name] = first.setdefault(tensor, name)
    return found
