"""Rearranged, rescaled or sliced views of one parameter, and the way back to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
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
    ]
}
_MOVES |= {getattr(torch.Tensor, name).__get__ for name in ("T", "mT")}
_SCALES = {torch.Tensor.mul, torch.mul, torch.Tensor.div, torch.div, torch.Tensor.neg, torch.neg}


@dataclass
class Part:
    """scale · (some entries of one parameter, rearranged).

    Attributes:
        name: of the parameter.
        tensor: the value, with its place in autograd's graph.
        scale: the factor.
        moves: how the entries were moved, to be replayed on indices.
    """

    name: str
    tensor: Tensor
    scale: float = 1.0
    moves: tuple[Callable[[Tensor], Any], ...] = field(default=(), repr=False)
    shape: torch.Size = field(default=None, repr=False)  # type: ignore[assignment]  # of the whole parameter

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


def rearranged(part: Part, func: Callable, args: tuple, kwargs: dict, out: Any) -> dict[int, Part] | None:
    """The parts that ``func`` made of ``part``, by the identity of their tensors; None if it did more."""
    if func in _SCALES and isinstance(out, Tensor):
        factor = _factor(part, func, args, kwargs)
        if factor is None:
            return None
        made = Part(part.name, out, part.scale * factor, part.moves, part.shape)
        return {id(out): made}
    if func not in _MOVES or args[0] is not part.tensor:
        return None
    rest = args[1:]
    if isinstance(out, Tensor):
        move = lambda index: func(index, *rest, **kwargs)  # noqa: E731
        return {id(out): Part(part.name, out, part.scale, (*part.moves, move), part.shape)}
    if not all(isinstance(piece, Tensor) for piece in out):
        return None
    made_pieces = {}
    for k, piece in enumerate(out):
        made_pieces[id(piece)] = Part(
            part.name, piece, part.scale, (*part.moves, _piece(func, rest, kwargs, k)), part.shape
        )
    return made_pieces


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
