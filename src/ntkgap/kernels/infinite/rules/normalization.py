r"""Normalization: with infinitely many channels the statistics are no longer random, K ← K / √((q + ε)(q' + ε)).

q is the variance, averaged over the positions that are normalized together. The mean over the channels of a
centered Gaussian is zero, so subtracting it changes nothing; behind a nonlinearity it would.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.kernels.infinite.pairs import Moments, Tile, own_positions, with_own_positions
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Operation, Random, State, rule
from ntkgap.kernels.infinite.rules.weights import average
from ntkgap.kernels.infinite.signals import Signal


@dataclass(frozen=True)
class Normalization(Operation):
    """Divide by the standard deviation, and count the trained shifts; trained scales are left to the next step.

    Attributes:
        name: of the step.
        positions: how many position axes there are.
        together: whether positions share one standard deviation.
        eps: ε.
        shares: fraction of the channels in every field.
        shifts: whether shifts are trained.
        shared: whether positions share them.
        fixed: the variance to divide by where it is not the signal's own.
        scales_counted: whether the trained scales are counted here, as others are in Θ already.
    """

    name: str
    positions: int
    together: bool
    eps: float
    shares: tuple[float, ...]
    shifts: bool
    shared: bool
    fixed: float | None = None
    scales_counted: bool = False

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """The same divisors for all fields."""
        factor = 1 / (self.fixed + self.eps) if self.fixed is not None else self._factor(at, pairs, states[0])
        return [self._learned(at, pairs, moments.map(lambda k: k * factor)) for moments in states[0]]

    def _factor(self, at: Tile, pairs: bool, state: State) -> Tensor:
        key = (self.name, 0)
        if at.recording:
            variance = average(state, self.shares).nngp
            q = own_positions(variance, self.positions) if pairs else variance
            if self.together and self.positions:
                axes = tuple(range(self.positions))
                q = q.mean(dim=axes, keepdim=True).expand_as(q)
            at.noted[key] = q
            q1, q2 = at.spread(q, q, pairs)
        else:
            q1, q2 = at.recall(key, pairs)
        return (q1 + self.eps).rsqrt() * (q2 + self.eps).rsqrt()

    def _learned(self, at: Tile, pairs: bool, normalized: Moments) -> Moments:
        if not at.with_ntk:
            return normalized
        own = pairs and not self.shared
        if self.scales_counted:
            normalized = learned(normalized, normalized.nngp, own, self.positions)
        if self.shifts:
            normalized = learned(normalized, torch.ones_like(normalized.nngp), own, self.positions)
        return normalized


@dataclass(frozen=True)
class Settled(Operation):
    """Trained scales of a normalization behind which no nonlinearity comes: their part of Θ is Σ."""

    positions: int
    shared: bool

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Θ + Σ, at equal positions where these do not share their scales."""
        if not at.with_ntk:
            return states[0]
        return [learned(m, m.nngp, pairs and not self.shared, self.positions) for m in states[0]]


def settle(source: Random) -> tuple[Settled, Signal]:
    """Count the trained scales of a signal on which something other than a nonlinearity acts next."""
    fields = tuple(replace(f, scales="mixed" if f.scales else "") for f in source.signal.fields)
    shared = all(f.scales != "own" for f in source.signal.fields)
    return Settled(len(source.layout.positions), shared), replace(source.signal, fields=fields)


def learned(state: Moments, part: Tensor, own: bool, positions: int) -> Moments:
    """Add to Θ what a layer's own parameters contribute, at equal positions only if each has its own."""
    if own:
        part = with_own_positions(torch.zeros_like(part), own_positions(part, positions))
    return Moments(state.nngp, part if state.ntk is None else state.ntk + part)


def _normalized(
    call: Call, together: bool, eps: float, shared: bool, centered: bool = True, fixed: float | None = None
) -> Compiled:
    source = call.input
    if centered and not source.signal.gaussian:
        raise call.refusal(
            "normalizes the output of a nonlinearity, whose mean over channels is not zero; put it before the "
            "nonlinearity, or use infinite_width_monte_carlo"
        )
    weight, bias = getattr(call.target, "weight", None), getattr(call.target, "bias", None)
    for parameter, start, word in ((weight, 1.0, "scales"), (bias, 0.0, "shifts")):
        if isinstance(parameter, Tensor) and not bool((parameter == start).all()):
            raise call.refusal(
                f"has {word} other than {start:g}, their initial value; pass a model that is not trained"
            )
    signal = source.signal
    shares = tuple(f.channels / signal.channels for f in signal.fields)
    operation = Normalization(
        call.name,
        len(source.layout.positions),
        together,
        eps,
        shares,
        isinstance(bias, nn.Parameter) and bias.requires_grad,
        shared,
        fixed,
    )
    if not (isinstance(weight, nn.Parameter) and weight.requires_grad):
        return Compiled(operation, [source], signal)
    before = {f.scales for f in signal.fields} - {""}
    if before == {"mixed"}:  # counted in Θ, as the factors of a branch are: these are counted at once too
        fields = tuple(replace(f, scales="mixed") for f in signal.fields)
        return Compiled(replace(operation, scales_counted=True), [source], replace(signal, fields=fields))
    if before:
        raise call.refusal("follows trained scales of another normalization without a layer of weights in between")
    fields = tuple(replace(f, scales="shared" if shared else "own") for f in signal.fields)
    return Compiled(operation, [source], replace(signal, fields=fields))


@rule(nn.LayerNorm, nn.RMSNorm, F.layer_norm, F.rms_norm)
def layer_norm(call: Call) -> Compiled:
    """Over the channels of every position, or over channels and all positions together."""
    source = call.input
    if call.is_module:
        shape, eps = tuple(call.target.normalized_shape), call.target.eps
    else:
        given = call.bind("input", "normalized_shape", "weight", "bias", "eps", weight=None, bias=None, eps=None)
        if given["weight"] is not None or given["bias"] is not None:
            raise call.refusal("is given scales or shifts directly; use the module nn.LayerNorm or nn.RMSNorm")
        shape, eps = tuple(given["normalized_shape"]), given["eps"]
    root_mean_square = isinstance(call.target, nn.RMSNorm) or call.target is F.rms_norm
    if eps is None:
        eps = torch.finfo(source.value.dtype).eps if root_mean_square else 1e-5
    ndim = source.value.ndim
    axes = set(range(ndim - len(shape), ndim))
    layout = source.layout
    if layout.channel_axis not in axes:
        raise call.refusal(
            f"normalizes over axes {sorted(axes)}, which hold positions; the channels are on axis "
            f"{layout.channel_axis}: put them last, or use GroupNorm"
        )
    everything = axes == set(range(1, ndim))
    if not everything and axes != {layout.channel_axis}:
        raise call.refusal("normalizes over channels and some of the positions; only all or none are followed")
    together = everything and bool(layout.positions)
    return _normalized(call, together, eps, shared=not together, centered=not root_mean_square)


@rule(nn.GroupNorm)
def group_norm(call: Call) -> Compiled:
    """Over the channels of a group and all positions."""
    source = call.input
    if source.layout.channel_axis != 1 or source.layout.flat:
        raise call.refusal("takes channels first, [n, channels, ...]")
    group = call.target.num_channels // call.target.num_groups
    if group == 1:
        raise call.refusal(
            "has one channel a group: the statistics of single channels stay random at any width. Use fewer "
            "groups, or infinite_width_monte_carlo"
        )
    if len(source.signal.fields) > 1:
        raise call.refusal("normalizes groups of concatenated signals, which differ; normalize before torch.cat")
    return _normalized(call, True, call.target.eps, shared=True)


@rule(nn.modules.batchnorm._BatchNorm)
def batch_norm(call: Call) -> Compiled:
    """In eval mode with fresh statistics, a constant factor with trained scales and shifts."""
    module = call.target
    if module.training or module.running_mean is None:
        raise call.refusal(
            "normalizes over the batch in train mode, which makes every output depend on every example; call "
            "model.eval(), or use nn.GroupNorm"
        )
    if bool(module.running_mean.any()) or not bool((module.running_var == 1).all()):
        raise call.refusal(
            "holds statistics of a data set; infinite-width kernels need a model that is not trained"
        )
    return _normalized(call, False, module.eps, shared=True, centered=False, fixed=1.0)
