"""How a model is called with one object of inputs, and what of its answer are the outputs."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ntkgap.errors import DataError, ModelError


def call_arguments(model: nn.Module, x: Any, name: str = "x") -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments that ``x`` stands for.

    A mapping (a Hugging Face batch) holds arguments by name, a tuple or list positional ones, anything else is the
    one argument. A mapping none of whose keys is an argument of a model that takes one is that argument itself.

    Raises:
        DataError: if the model's ``forward`` does not take them, naming what it takes.
    """
    if isinstance(x, Mapping):
        args, kwargs = (), dict(x)
    else:
        args, kwargs = tuple(x) if type(x) in (tuple, list) else (x,), {}  # a named tuple is one argument
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # a forward written in C
        return args, kwargs
    names = [n for n, p in signature.parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    if kwargs and len(names) == len(signature.parameters) and not set(kwargs) & set(names):
        needed = [n for n in names if signature.parameters[n].default is inspect.Parameter.empty]
        if len(needed) == 1:
            return (kwargs,), {}
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        given = f"the keys {', '.join(map(repr, kwargs))}" if kwargs else f"{len(args)} positional arguments"
        raise DataError(
            f"{type(model).__name__}.forward takes ({', '.join(map(str, signature.parameters.values()))}), "
            f"but {name} holds {given} ({error}); a dict holds arguments by name, a tuple or list positional ones"
        ) from error
    return args, kwargs


def output_tensor(model: nn.Module, out: Any) -> Tensor:
    """The tensor of outputs: what the model returned, or its ``logits`` (Hugging Face).

    Raises:
        ModelError: if it returned something else, naming what.
    """
    found = out.get("logits") if isinstance(out, Mapping) else getattr(out, "logits", out)
    if isinstance(found, Tensor):
        return found
    what = type(out).__name__
    if isinstance(out, Mapping):
        what += f" with the keys {', '.join(map(repr, out))}"
    elif isinstance(out, tuple | list):
        what += f" of {len(out)}"
    raise ModelError(
        f"{type(model).__name__} returned a {what}; one tensor [n, ...] is needed (or an object with .logits): "
        "wrap the model so that it returns only the outputs the kernel is for"
    )
