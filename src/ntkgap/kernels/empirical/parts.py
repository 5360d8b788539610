"""Rearranged, rescaled or sliced views of one parameter, and the way back to it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

# Functions that only move entries of their first argument around: replayed on indices, they say where to.
_MOVES = {
    getattr(torch.Tensor, name)
    for name in [
        "t",
        "transpose",
        "permute",
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "contiguous",
        "clone",
        "chunk",
        "split",
        "narrow",
        "select",
        "__getitem__",
        "swapaxes",
        "swapdims",
        "movedim",
        "unbind",
        "ravel",
        "view_as",
        "reshape_as",
        "expand",
        "expand_as",
        "broadcast_to",
        "repeat",
        "index_select",
        "flip",
        "roll",
        "tile",
        "repeat_interleave",
        "diagonal",
        "tensor_split",
        "hsplit",
        "vsplit",
    ]
} | {
    getattr(torch, name)
    for name in [
        "t",
        "transpose",
        "permute",
        "reshape",
        "flatten",
        "squeeze",
        "unsqueeze",
        "clone",
        "chunk",
        "split",
        "narrow",
        "select",
        "unbind",
        "broadcast_to",
        "index_select",
        "flip",
        "roll",
        "tile",
        "repeat_interleave",
        "diagonal",
        "tensor_split",
    ]
}
_MOVES |= {getattr(torch.Tensor, name).__get__ for name in ("T", "mT")}
#: Functions of which one entry may go to several places.
_COPIES = {
    torch.embedding,
    torch.broadcast_to,
    torch.index_select,
    torch.tile,
    torch.repeat_interleave,
    torch.Tensor.expand,
    torch.Tensor.expand_as,
    torch.Tensor.broadcast_to,
    torch.Tensor.repeat,
    torch.Tensor.index_select,
    torch.Tensor.tile,
    torch.Tensor.repeat_interleave,
    torch.Tensor.__getitem__,
}
_SCALES = {torch.Tensor.mul, torch.mul, torch.Tensor.div, torch.div, torch.Tensor.neg, torch.neg}


@dataclass
class Part:
    """scale · (some entries of one parameter, rearranged).

    Attributes:
        name: of the parameter.
        tensor: the value, with its place in autograd's graph.
        scale: the factor.
        moves: how the entries were moved, to be replayed on indices.
        shape: of the whole parameter.
        copies: whether an entry may have gone to several places.
    """

    name: str
    tensor: Tensor
    scale: float = 1.0
    moves: tuple[Callable[[Tensor], Any], ...] = field(default=(), repr=False)
    shape: torch.Size = field(default=None, repr=False)  # type: ignore[assignment]
    copies: bool = False

    def __post_init__(self) -> None:
        if self.shape is None:
            self.shape = self.tensor.shape

    @property
    def key(self) -> tuple:
        """What two runs of the same network must agree on."""
        return (self.name, tuple(self.tensor.shape), len(self.moves))

    def same_entries(self, other: "Part") -> bool:
        """Whether both hold the same entries of the parameter in the same places, up to their scales."""
        if self is other or not (self.moves or other.moves):
            return self.shape == other.shape
        one, two = (p.index() if p.moves else p.all_entries() for p in (self, other))
        assert one is not None
        assert two is not None
        return torch.equal(one, two)

    def all_entries(self) -> Tensor:
        """The index of a part that is the whole parameter."""
        return torch.arange(self.shape.numel(), device=self.tensor.device)

    def index(self) -> Tensor | None:
        """Where each entry comes from in the flat parameter, [numel]; None if all are in order."""
        if not self.moves:
            return None
        index = self.all_entries().view(self.shape)
        for move in self.moves:
            index = move(index)
        return index.flatten()

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that this depends on."""
        return (self.name,)

    def of_whole(self) -> "Part":
        """The parameter that this is a part of, whole and unscaled."""
        return Part(self.name, self.tensor.detach().new_empty(0), shape=self.shape)

    def from_parameter(self, flat: Tensor) -> Tensor:
        """The same part of another flat vector of the parameter's size."""
        index = self.index()
        flat = flat if index is None else flat[index]
        return flat if self.scale == 1.0 else flat * self.scale

    def to_parameter(self, rows: Tensor) -> Tensor:
        """Gradients with respect to the part, [..., numel], as gradients with respect to the parameter."""
        rows = rows if self.scale == 1.0 else rows * self.scale
        index = self.index()
        if index is None:
            return rows
        return rows.new_zeros(*rows.shape[:-1], self.shape.numel()).index_add_(-1, index, rows)


@dataclass
class Derived(Part):
    """What a network computes from its parameters alone: a pruned, normalized or low-rank weight.

    Attributes:
        leaves: the parameters it depends on, by name.
    """

    leaves: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that this depends on."""
        return tuple(self.leaves)

    def pulled_back(self, rows: Tensor) -> dict[str, Tensor]:
        """Gradients with respect to the tensor, [r, numel], as gradients [r, p] with respect to each parameter."""
        rows, leaves = rows.view(-1, *self.tensor.shape), list(self.leaves.values())
        try:
            found = torch.autograd.grad(
                self.tensor, leaves, rows, retain_graph=True, allow_unused=True, is_grads_batched=True
            )
        except (RuntimeError, UserWarning):  # an operation that cannot be differentiated in batches
            singly = [
                torch.autograd.grad(self.tensor, leaves, row, retain_graph=True, allow_unused=True) for row in rows
            ]
            found = tuple(None if g[0] is None else torch.stack(list(g)) for g in zip(*singly, strict=True))  # type: ignore[misc]
        pairs = zip(self.leaves, found, strict=True)
        return {name: grads.detach().reshape(len(rows), -1) for name, grads in pairs if grads is not None}


def rearranged(part: Part, func: Callable, args: tuple, kwargs: dict, out: Any) -> dict[int, Part] | None:
    """The parts that ``func`` made of ``part``, by the identity of their tensors; None if it did more."""
    if func in _SCALES and isinstance(out, Tensor):
        factor = _factor(part, func, args, kwargs)
        return None if factor is None else {id(out): replace(part, tensor=out, scale=part.scale * factor)}
    if func is torch.embedding:  # rows of a table, by an index that the data have no part in
        table, index, *padding = args
        if table is not part.tensor or (padding and padding[0] >= 0):
            return None
        move = lambda places: torch.nn.functional.embedding(index, places)  # noqa: E731
        return {id(out): replace(part, tensor=out, moves=(*part.moves, move), copies=True)}
    if func not in _MOVES or not args or args[0] is not part.tensor:
        return None
    rest, copies = args[1:], part.copies or func in _COPIES
    if isinstance(out, Tensor):
        move = lambda index: func(index, *rest, **kwargs)  # noqa: E731
        return {id(out): replace(part, tensor=out, moves=(*part.moves, move), copies=copies)}
    if not all(isinstance(piece, Tensor) for piece in out):
        return None
    return {
        id(piece): replace(part, tensor=piece, moves=(*part.moves, _piece(func, rest, kwargs, k)), copies=copies)
        for k, piece in enumerate(out)
    }


def _piece(func: Callable, rest: tuple, kwargs: dict, k: int) -> Callable[[Tensor], Tensor]:
    return lambda index: func(index, *rest, **kwargs)[k]


def _factor(part: Part, func: Callable, args: tuple, kwargs: dict) -> float | None:
    if func in (torch.Tensor.neg, torch.neg):
        return -1.0
    if kwargs or len(args) != 2:
        return None
    first, second = args
    number = second if first is part.tensor else first
    if isinstance(number, Tensor) or not isinstance(number, int | float):
        return None
    if func in (torch.Tensor.mul, torch.mul):
        return float(number)
    return 1.0 / number if first is part.tensor else None
