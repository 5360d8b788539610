"""How a network is called on what a user gives as its input, and which tensor of what it returns is its output."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ntkgap.errors import ModelError


def call_arguments(model: nn.Module, x: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of ``model`` for one input.

    Args:
        model: the network.
        x: a mapping holds keyword arguments by name, a tuple or list positional ones; anything else is the one
            argument. (A named tuple, such as a packed sequence, is one argument.)
    """
    if isinstance(x, Mapping):
        return (), {str(name): value for name, value in x.items()}
    if type(x) in (tuple, list):
        return tuple(x), {}
    return (x,), {}


def output_tensor(model: nn.Module, out: Any) -> Tensor:
    """The outputs of ``model``: the tensor that it returned, or the logits in an object or mapping that has some.

    Raises:
        ModelError: if there is no such tensor, naming what was returned.
    """
    logits = out.get("logits") if isinstance(out, Mapping) else getattr(out, "logits", None)
    found = out if isinstance(out, Tensor) else logits
    if isinstance(found, Tensor):
        return found
    held = f" with {', '.join(map(repr, out))}" if isinstance(out, Mapping) else ""
    held = f" of {len(out)}" if isinstance(out, tuple | list) else held
    raise ModelError(
        f"{type(model).__name__} returned a {type(out).__name__}{held}; one tensor is needed, or 'logits': wrap "
        "the model so that it returns only the outputs to be looked at"
    )
