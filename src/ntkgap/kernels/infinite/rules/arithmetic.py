"""Sums, products, multiples and concatenations of signals."""

import math
import operator
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.kernels.infinite.pairs import Moments, Tile
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Data, Operation, Random, State, rule
from ntkgap.kernels.infinite.rules.offsets import offset
from ntkgap.kernels.infinite.rules.pointwise import Same
from ntkgap.kernels.infinite.rules.position_maps import Multiple
from ntkgap.kernels.infinite.rules.scales import is_trained, trained_scale
from ntkgap.kernels.infinite.rules.sums_of_maps import sum_of_maps
from ntkgap.kernels.infinite.rules.weights import sum_of
from ntkgap.kernels.infinite.signals import Field, Signal, require_independent
from ntkgap.kernels.infinite.tracing import difference_of_copies


@dataclass(frozen=True)
class Sum(Operation):
    """Uncorrelated signals add their kernels."""

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Field by field."""
        return [add_moments(a, b) for a, b in zip(*states, strict=True)]


@dataclass(frozen=True)
class Product(Operation):
    """Independent signals multiply their kernels; Θ follows the product rule."""

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Field by field."""
        return [_multiply(a, b) for a, b in zip(*states, strict=True)]


@dataclass(frozen=True)
class Cancelled(Operation):
    """The difference of two copies over √2: no variance at the start, and the tangent kernel of one copy."""

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Σ = 0, Θ as it was."""
        return [Moments(torch.zeros_like(moments.nngp), moments.ntk) for moments in states[0]]


@dataclass(frozen=True)
class Concatenation(Operation):
    """Signals side by side along the channels keep their own kernels."""

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """All fields, in order."""
        return [moments for state in states for moments in state]


def add_moments(a: Moments, b: Moments) -> Moments:
    """Kernels of the sum of two uncorrelated signals."""
    learned = [k for k in (a.ntk, b.ntk) if k is not None]
    return Moments(a.nngp + b.nngp, sum_of(learned) if learned else None)


def _multiply(a: Moments, b: Moments) -> Moments:
    learned = [k * other for k, other in ((a.ntk, b.nngp), (b.ntk, a.nngp)) if k is not None]
    return Moments(a.nngp * b.nngp, sum_of(learned) if learned else None)


def number(value: object) -> float | None:
    """A constant factor: a Python number, or a tensor of one entry that is not trained."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.requires_grad:
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def two(call: Call, a: object, b: object) -> tuple[Random, Random]:
    """Both operands as signals of one layout, which one of them has already.

    A function of the input becomes one along the other's channels; constants and parameters are the same for all
    inputs.
    """
    if isinstance(a, Random) and not isinstance(b, Random | Data):
        b = offset(call, b, a)
    elif isinstance(b, Random) and not isinstance(a, Random | Data):
        a = offset(call, a, b)
    if isinstance(a, Data) and isinstance(b, Random):
        a = call.lift(a, b.layout.channel_axis)
    elif isinstance(b, Data) and isinstance(a, Random):
        b = call.lift(b, a.layout.channel_axis)
    if not (isinstance(a, Random) and isinstance(b, Random)):
        raise call.refusal(
            "combines the input with a parameter before any layer of weights, which is not followed: nobody knows "
            "which axis holds the channels. Put a Linear or convolution before it"
        )
    same = a.layout == b.layout and [f.channels for f in a.signal.fields] == [f.channels for f in b.signal.fields]
    if not same:
        raise call.refusal(
            f"combines signals of shapes {('n', *a.value.shape[1:])} and {('n', *b.value.shape[1:])}, "
            "or of channels put together differently; broadcasting between signals is not followed"
        )
    return a, b


@rule(operator.add, operator.iadd, torch.add, "add", "add_", any_batch_axis=True)
def add(call: Call) -> Compiled:
    """A residual sum; maps of one signal (h + h, h + A h) are added before they are applied."""
    return _sum(call, 1.0)


@rule(operator.sub, operator.isub, torch.sub, "sub", "sub_", any_batch_axis=True)
def subtract(call: Call) -> Compiled:
    """Signs do not matter for uncorrelated signals."""
    return _sum(call, -1.0)


def _sum(call: Call, sign: float) -> Compiled:
    first, second = call.operands("alpha")
    alpha = call.kwargs.get("alpha", 1)
    for zero, kept in ((first, second), (second, first)):
        if number(zero) == 0.0 and isinstance(kept, Random):  # sum([...]) starts from 0
            return Compiled(Same(), [kept], kept.signal)
    if alpha != 1:
        raise call.refusal(f"has alpha={alpha}; write the factor as a product")
    a, b = two(call, first, second)
    one_map = sum_of_maps(a, b, sign)
    if one_map is not None:
        return one_map
    fields = tuple(_sum_field(call, f, g) for f, g in zip(a.signal.fields, b.signal.fields, strict=True))
    return Compiled(Sum(), [a, b], Signal(a.layout, fields))


def _sum_field(call: Call, a: Field, b: Field) -> Field:
    require_independent(a, b, call.place, "adds")
    if not a.zero_mean and not b.zero_mean:
        raise call.refusal(
            "adds two signals whose means are not zero (outputs of nonlinearities such as ReLU); their product "
            "has an expectation of its own that the recursion does not follow. Put a Linear or convolution on one "
            "of them"
        )
    return Field(a.channels, a.gaussian and b.gaussian, a.zero_mean and b.zero_mean, a.sources | b.sources)


@rule(operator.mul, operator.imul, torch.mul, "mul", "mul_", any_batch_axis=True)
def multiply(call: Call) -> Compiled:
    """A number or a trained factor times a signal, or a gate: the product of two independent ones."""
    first, second = call.operands()
    for constant, kept in ((first, second), (second, first)):
        factor = number(constant)
        if factor is not None and isinstance(kept, Random):
            return Compiled(Multiple(factor), [kept], kept.signal)
        if isinstance(kept, Random) and is_trained(constant):
            return trained_scale(call, constant, kept)
    a, b = two(call, first, second)
    fields = []
    for f, g in zip(a.signal.fields, b.signal.fields, strict=True):
        require_independent(f, g, call.place, "multiplies")
        fields.append(Field(f.channels, False, f.zero_mean or g.zero_mean, f.sources | g.sources))
    return Compiled(Product(), [a, b], Signal(a.layout, tuple(fields)))


@rule(operator.truediv, operator.itruediv, torch.div, "div", "div_", any_batch_axis=True)
def divide(call: Call) -> Compiled:
    """A signal divided by a number."""
    divided, by = call.operands()
    factor = number(by)
    if factor is None or not isinstance(divided, Random) or factor == 0 or not math.isfinite(factor):
        raise call.refusal("divides by something other than a nonzero number")
    return Compiled(Multiple(1 / factor), [divided], divided.signal)


@rule(operator.neg, torch.neg, "neg", any_batch_axis=True)
def negate(call: Call) -> Compiled:
    """Centered Gaussians do not notice."""
    return Compiled(Multiple(-1.0), [call.input], call.input.signal)


@rule(torch.cat, torch.concat, torch.concatenate)
def concatenate(call: Call) -> Compiled:
    """Side by side along the channels; the next layer averages over all of them."""
    given = call.bind("tensors", "dim", dim=0)
    parts = given["tensors"]
    axis = given["dim"] % call.value.ndim
    signals = [p if isinstance(p, Random) else call.lift(p, axis) for p in parts if isinstance(p, Random | Data)]
    first = signals[0]
    if (
        len(signals) != len(parts)
        or any(s.layout != first.layout for s in signals)
        or axis != first.layout.channel_axis
    ):
        raise call.refusal(
            f"concatenates along axis {axis}; only signals of the same positions can be put together, along their "
            f"channels (axis {first.layout.channel_axis})"
        )
    if first.layout.flat:
        raise call.refusal("concatenates flattened images; concatenate them before Flatten")
    return Compiled(
        Concatenation(), signals, Signal(first.layout, tuple(f for s in signals for f in s.signal.fields))
    )


@rule(difference_of_copies)
def cancel(call: Call) -> Compiled:
    """An antisymmetric network, of which one copy was followed."""
    if isinstance(call.args[1], Random):
        raise call.refusal(
            "is the difference of two copies behind a layer of weights, which is not trained through them; "
            "make the whole network antisymmetric"
        )
    return Compiled(Cancelled(), [call.input], call.input.signal)
