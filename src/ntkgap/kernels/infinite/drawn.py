"""Tensors made of parameters alone, as learned positions are: which entry of which parameter stands where."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Steps that move entries about and change none of them; conversions of type leave them where they are.
_MOVES = frozenset(
    {"expand", "expand_as", "unsqueeze", "squeeze", "view", "reshape", "transpose", "permute", "movedim", "repeat"}
) | {
    operator.getitem,
    torch.unsqueeze,
    torch.squeeze,
    torch.reshape,
    torch.transpose,
    torch.permute,
    torch.movedim,
}
_CONVERSIONS = frozenset({"to", "type", "type_as", "float", "double", "contiguous", "clone"})


@dataclass(frozen=True)
class Drawn:
    """A tensor that depends on trained parameters, or on an embedding, and on no input.

    Attributes:
        value: on the example.
        parameter: the one it is made of; None if it is another function of parameters, which is not followed.
        entries: which entry of the parameter, counted in order, every entry is; −1 where it is a constant zero.
    """

    value: Tensor
    parameter: Tensor | None = None
    entries: Tensor | None = None


def drawn_by_view(tensor: Tensor, names: Mapping[int, str]) -> Drawn:
    """A trained parameter, or a slice of one taken before any traced value met it.

    Args:
        tensor: requires grad.
        names: of the model's parameters, by id.
    """
    parameter = tensor if id(tensor) in names else tensor._base
    if parameter is None or id(parameter) not in names or not parameter.is_contiguous():
        return Drawn(tensor.detach())
    start = tensor.storage_offset() - parameter.storage_offset()
    entries = torch.arange(parameter.numel()).as_strided(tensor.shape, tensor.stride(), start)
    return Drawn(tensor.detach(), parameter, entries)


def drawn_by_step(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> Drawn | None:
    """What a step on constants and parameters alone gives, or None if nothing drawn at random enters.

    Args:
        target: its module, function, or name of a method.
        args, kwargs: its arguments.
        value: what it gives on the example.
    """
    looked_up = _lookup(target, args, kwargs)
    drawn = looked_up is not None or _is_trained(target, (*args, *kwargs.values()))
    if not drawn or not isinstance(value, Tensor):
        return None
    if looked_up is not None:
        ids, table, padding = looked_up
        entries = torch.arange(table.numel()).view(table.shape)
        if padding is not None:
            entries[padding] = -1
        return Drawn(value, table, entries[ids.cpu()])
    first = args[0] if args else None
    if not isinstance(first, Drawn) or first.entries is None:
        return Drawn(value)
    if target in _CONVERSIONS:
        return Drawn(value, first.parameter, first.entries)
    if target in _MOVES:
        move = getattr(first.entries, target) if isinstance(target, str) else None
        entries = move(*args[1:], **kwargs) if move else target(first.entries, *args[1:], **kwargs)
        return Drawn(value, first.parameter, entries)
    return Drawn(value)


def _is_trained(target: Any, arguments: tuple[Any, ...]) -> bool:
    if isinstance(target, nn.Module) and any(p.requires_grad for p in target.parameters()):
        return True
    return any(isinstance(a, Drawn) or (isinstance(a, Tensor) and a.requires_grad) for a in arguments)


def _lookup(
    target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor, int | None] | None:
    """Constant indices, table and index of the padding, if an embedding looks them up."""
    if not isinstance(target, nn.Embedding):
        return None
    ids = args[0] if args else kwargs["input"]
    return (ids, target.weight, target.padding_idx) if isinstance(ids, Tensor) else None
