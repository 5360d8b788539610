r"""Recurrent layers: the same weights at every time, which is a position axis here.

.. math:: g(t) = W h(t-1) + U x(t) + b, \quad h(t) = \phi(g(t)): \qquad
          \Sigma_g(t, t') = \sigma_w^2 \Sigma_h(t-1, t'-1) + \sigma_u^2 \Sigma_x(t, t') + \sigma_b^2

with h(−1) = 0, and Θ likewise over all pairs of times. Two uses of W that are not equally far from the end have no
correlation in the limit, so that no other terms arise.

Source: Alemohammad, Wang, Balestriero, Baraniuk 2021, *The recurrent neural tangent kernel*, theorems 1 and 2.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ntkgap.kernels.infinite.activations import Activation, find_activation
from ntkgap.kernels.infinite.pairs import Moments, Tile, own_positions
from ntkgap.kernels.infinite.rules.arithmetic import Concatenation, add_moments
from ntkgap.kernels.infinite.rules.base import Call, Data, Operation, Random, State
from ntkgap.kernels.infinite.rules.pointwise import check_resolved
from ntkgap.kernels.infinite.rules.position_maps import PositionMap
from ntkgap.kernels.infinite.rules.several import Stack, several
from ntkgap.kernels.infinite.rules.weights import (
    Coefficients,
    average,
    layer_coefficients,
    layer_parameters,
    shares_of,
)
from ntkgap.kernels.infinite.signals import Field, Signal


@dataclass(frozen=True)
class Recurrent(Operation):
    """One layer in one direction.

    Attributes:
        name: of the step.
        activation: φ.
        inputs: of U and all biases.
        hidden: of W.
        shares: fraction of the input's channels in every field.
        backward: whether time runs from the end to the beginning.
    """

    name: str
    activation: Activation
    inputs: Coefficients
    hidden: Coefficients
    shares: tuple[float, ...]
    backward: bool
    scales = "averaged"

    @property
    def all_activations(self) -> list[Activation]:
        """The nonlinearity."""
        return [self.activation]

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """The states at all times, or at all pairs of times."""
        drive = self._in_time(self.inputs.apply(average(states[0], self.shares), at.with_ntk), pairs)
        q1, q2 = self._variances(at, own_positions(drive.nngp, 1) if pairs else drive.nngp)
        h: list[Moments] = []
        for t in range(len(drive.nngp)):
            g = drive.map(lambda k, t=t: k[t])  # type: ignore[misc]
            if h:
                back = self.hidden.apply(h[-1], at.with_ntk)
                g = add_moments(g, back.map(_a_step_later) if pairs else back)
            h.append(self._activated(g, q1, q2, t, pairs, at.recording))
        nngp, ntks = torch.stack([s.nngp for s in h]), [s.ntk for s in h if s.ntk is not None]
        return [self._in_time(Moments(nngp, torch.stack(ntks) if ntks else None), pairs)]

    def _in_time(self, moments: Moments, pairs: bool) -> Moments:
        """Times in the order in which the layer sees them."""
        return moments.map(lambda k: k.flip([0, 1] if pairs else [0])) if self.backward else moments

    def _variances(self, at: Tile, drive: Tensor) -> tuple[Tensor, Tensor]:
        """Variances of the pre-activations of both inputs, [T, ...], to broadcast against a tile."""
        key = (self.name, 0)
        if at.recording:
            q: list[Tensor] = []
            for own in drive:
                before = self.hidden.gain * self.activation.variance(q[-1], False)[0] if q else 0.0
                q.append(own + before)
            at.noted[key] = torch.stack(q)
            check_resolved(at.noted[key], self.name)
            return at.noted[key], at.noted[key]
        return at.recall(key, False)

    def _activated(self, g: Moments, q1: Tensor, q2: Tensor, t: int, pairs: bool, recording: bool) -> Moments:
        """E[φφ'] and Θ·E[φ̇φ̇'] at time t of the first input, and that or all times of the second."""
        derivative = g.ntk is not None
        if pairs:
            product, slope = self.activation.covariance(g.nngp, q1[t : t + 1], q2, derivative)
        elif not recording:
            product, slope = self.activation.covariance(g.nngp, q1[t], q2[t], derivative)
        if recording:  # exact where an input meets itself
            own, own_slope = self.activation.variance(q1[t], derivative)
            product = _with_row(product, t, own) if pairs else own
            slope = _with_row(slope, t, own_slope) if pairs and slope is not None else own_slope
        return Moments(product, None if g.ntk is None or slope is None else g.ntk * slope)


def _a_step_later(k: Tensor) -> Tensor:
    """What was at time t' of the second input at t' + 1, and zero at the beginning."""
    return torch.cat([torch.zeros_like(k[:1]), k[:-1]])


def _with_row(k: Tensor, t: int, row: Tensor | None) -> Tensor:
    return k if row is None else torch.cat([k[:t], row[None], k[t + 1 :]])


@several(nn.RNN)
def recurrent(call: Call) -> tuple[Random, Stack]:
    """The states of the last layer at all times, and the last states of all layers, as ``nn.RNN`` gives them."""
    module, given = call.target, call.bind("input", "hx", hx=None)
    _refuse_initial_state(call, given["hx"])
    source = _sequences(call, given["input"])
    directions = 2 if module.bidirectional else 1
    last: list[Random] = []
    for layer in range(module.num_layers):
        sides = [_direction(call, source, layer, side) for side in range(directions)]
        last += [_at_end(call, state, side == 1) for side, state in enumerate(sides)]
        source = sides[0]
        if directions == 2:
            both = Signal(source.layout, tuple(f for s in sides for f in s.signal.fields))
            source = call.step(f"{call.name} layer {layer}", Concatenation(), sides, both)
    output, _ = call.value
    return Random(source.name, source.signal, output), Stack(last)


def _refuse_initial_state(call: Call, state: object) -> None:
    value = state.value if isinstance(state, Data) else state
    if value is not None and not (isinstance(value, Tensor) and not bool(value.any())):
        raise call.refusal("starts from a state that is not zero, which is not followed; leave it out")


def _sequences(call: Call, argument: object) -> Random:
    """The input as a signal over time.

    Raises:
        ModelError: if it is none, or its axes are in another order than the module takes them in.
    """
    batch_axis = 0 if call.target.batch_first else 1
    order = "[n, T, features]" if batch_axis == 0 else "[T, n, features]"
    shape = tuple(argument.value.shape) if isinstance(argument, Data | Random) else ()
    where = argument.layout.batch_axis if isinstance(argument, Random) else batch_axis
    if isinstance(argument, Random):
        fits = len(argument.layout.positions) == 1 and argument.layout.channel_axis == 2 and where == batch_axis
    else:
        fits = len(shape) == 3 and shape[batch_axis] == call.examples
    if not fits or not isinstance(argument, Data | Random):
        raise call.refusal(
            f"takes {order} with batch_first={call.target.batch_first}, but the examples of its input are not on "
            f"axis {batch_axis} or there is no axis of time; turn it with transpose(0, 1), or set batch_first"
        )
    return call.lift(argument, 2, batch_axis) if isinstance(argument, Data) else argument


def _direction(call: Call, source: Random, layer: int, side: int) -> Random:
    """One layer in one direction."""
    module, suffix = call.target, f"_l{layer}" + ("_reverse" if side else "")
    inputs, hidden = (_coefficients(call, kind, suffix) for kind in ("ih", "hh"))
    inputs = replace(
        inputs, shift=inputs.shift + hidden.shift, bias_learning=inputs.bias_learning + hidden.bias_learning
    )
    hidden = replace(hidden, shift=0.0, bias_learning=0.0)  # of the same channels, at all times from the first
    activation = find_activation(module.nonlinearity)
    if activation is None:
        raise call.refusal(f"has the nonlinearity {module.nonlinearity!r}; tanh and relu are followed")
    name = f"{call.name}{suffix}"
    operation = Recurrent(name, activation, inputs, hidden, shares_of(source.signal), bool(side))
    field = Field(module.hidden_size, False, activation.odd, frozenset({f"{call.place}{suffix}"}))
    return call.step(name, operation, [source], Signal(source.layout, (field,)))


def _coefficients(call: Call, kind: str, suffix: str) -> Coefficients:
    weight, bias = (getattr(call.target, f"{part}_{kind}{suffix}", None) for part in ("weight", "bias"))
    name, weight, bias = layer_parameters(call, weight, bias)
    # torch draws all of them from U(±1/√hidden_size), whatever the fan-in.
    default = (3 * call.target.hidden_size) ** -0.5
    return layer_coefficients(call, name, weight, bias, call.target, default=default)


def _at_end(call: Call, states: Random, backward: bool) -> Random:
    """The state when everything has been seen."""
    layout = states.layout
    time = layout.position_axes[0]
    row = torch.zeros(1, layout.positions[0], dtype=torch.float64)
    row[0, 0 if backward else -1] = 1.0
    out = layout.without([time])
    picked = Signal(out, states.signal.fields)
    value = call.value[0].select(time, 0 if backward else -1)[..., : states.signal.channels]
    return replace(
        call.step(f"{states.name} at the end", PositionMap((row,), (False,)), [states], picked), value=value
    )
