"""What is the same for every input and meets a signal: learned positions, drawn at random, and constants."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ntkgap.kernels.infinite.drawn import Drawn, drawn_by_view
from ntkgap.kernels.infinite.initializations import find_table
from ntkgap.kernels.infinite.pairs import Moments, Tile, own_positions
from ntkgap.kernels.infinite.rules.base import Call, Operation, Random, State
from ntkgap.kernels.infinite.rules.weights import layer_parameters
from ntkgap.kernels.infinite.signals import Field, Signal


@dataclass(frozen=True)
class Offset(Operation):
    """A signal that is the same for every input.

    Attributes:
        kernels: Σ of every field between positions, [*p, *p].
        learning: Θ of all of them; None if nothing is trained.
        positions: how many position axes there are.
    """

    kernels: tuple[Tensor, ...]
    learning: Tensor | None
    positions: int

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """The same on all pairs of inputs."""
        learning = None if self.learning is None or not at.with_ntk else self._spread(self.learning, at, pairs)
        return [Moments(self._spread(k, at, pairs), learning) for k in self.kernels]

    def _spread(self, k: Tensor, at: Tile, pairs: bool) -> Tensor:
        k = (k if pairs else own_positions(k, self.positions)).to(device=at.left.device, dtype=at.left.dtype)
        return k[(..., *[None] * len(at.shape))].expand(*k.shape, *at.shape)


def offset(call: Call, operand: object, like: Random) -> Random:
    """What meets a signal as one of the same layout.

    Args:
        call: the step.
        operand: a number, a tensor, or made of parameters.
        like: the signal that it is broadcast to.

    Raises:
        ModelError: if it is another function of parameters, or of another shape.
    """
    if isinstance(operand, Tensor) and operand.requires_grad:
        operand = drawn_by_view(operand, call.names)
    drawn = isinstance(operand, Drawn)
    value = operand.value if isinstance(operand, Drawn) else torch.as_tensor(operand, dtype=torch.float64)
    operation, fields = (
        _learned(call, operand, like) if isinstance(operand, Drawn) else _constant(call, value, like)
    )
    name = f"{'drawn' if drawn else 'constant'} in {call.name}"
    return replace(call.step(name, operation, [], Signal(like.layout, fields)), value=like.value)


def _constant(call: Call, value: Tensor, like: Random) -> tuple[Offset, tuple[Field, ...]]:
    """Σ is the mean over channels of the products; whatever comes next averages over the channels."""
    rows = rows_of(call, value.detach(), like)
    fields = tuple(
        Field(f.channels, gaussian=False, zero_mean=False, sources=frozenset()) for f in like.signal.fields
    )
    parts = rows.split([f.channels for f in fields], 1)
    kernels = tuple(_on_positions(part @ part.mT / part.shape[1], like) for part in parts)
    return Offset(kernels, None, len(like.layout.positions)), fields


def _learned(call: Call, drawn: Drawn, like: Random) -> tuple[Offset, tuple[Field, ...]]:
    """Σ(p, q) = σ²·1[p and q have the same entries], and Θ likewise."""
    if drawn.parameter is None or drawn.entries is None:
        raise call.refusal(
            "combines the signal with a function of parameters; parameters themselves can be added (learned "
            "positions, biases), for others use infinite_width_monte_carlo"
        )
    entries = rows_of(call, drawn.entries, like)
    distinct, group = entries.unique(dim=0, return_inverse=True)
    used = distinct[(distinct >= 0).any(1)]
    if len(used.unique()) < used.numel():
        raise call.refusal(
            f"adds a parameter of shape {tuple(drawn.parameter.shape)} that several channels share: its part of "
            "the kernels stays random at any width; give it an entry for every channel"
        )
    name, parameter, _ = layer_parameters(call, drawn.parameter, None)
    start, normal = find_table(name, parameter.detach().reshape(-1, parameter.shape[-1]), call.initializations)
    scale = start.weight_scale**2
    same = (group[:, None] == group) & (entries[:, :1] >= 0)
    kernel = _on_positions(same.double(), like)
    fields = tuple(
        Field(f.channels, gaussian=normal, zero_mean=True, sources=frozenset({name})) for f in like.signal.fields
    )
    kernels = (kernel * (scale * start.weight_std**2),) * len(fields)
    learning = kernel * scale if drawn.parameter.requires_grad else None
    return Offset(kernels, learning, len(like.layout.positions)), fields


def rows_of(call: Call, value: Tensor, like: Random) -> Tensor:
    """A tensor broadcast to a signal, [positions, channels].

    Raises:
        ModelError: if it does not fit the signal, or differs between examples.
    """
    layout = like.layout
    if call.value.shape != like.value.shape or layout.flat or layout.batch_axis == layout.channel_axis:
        raise call.refusal(
            f"combines a signal of shape {('n', *like.value.shape[1:])} with a constant or parameter of shape "
            f"{tuple(value.shape)}, which changes its shape or meets channels folded with others; reshape it first"
        )
    whole = value.broadcast_to(like.value.shape).movedim((layout.batch_axis, layout.channel_axis), (0, -1))
    if not torch.equal(whole, whole[:1].expand_as(whole)):
        raise call.refusal(
            "adds something that differs between the examples of a batch but does not depend on them"
        )
    return whole[0].reshape(-1, whole.shape[-1])


def _on_positions(kernel: Tensor, like: Random) -> Tensor:
    return kernel.reshape(like.layout.positions * 2)
