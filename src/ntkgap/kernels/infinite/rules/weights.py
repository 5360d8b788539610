"""What dense and convolutional layers have in common: how their random weights enter the recursion."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ntkgap.kernels.infinite.initializations import find_initialization
from ntkgap.kernels.infinite.pairs import Moments
from ntkgap.kernels.infinite.rules.base import Call, Data, Random, State
from ntkgap.kernels.infinite.signals import Field, Layout, Signal


@dataclass(frozen=True)
class Coefficients:
    """How a layer maps the averaged kernels.

    With effective weights s·w, w ~ N(0, v), and biases s_b·b, b ~ N(0, v_b):

    Attributes:
        gain: s²·v·fan_in, the σ_w² of the NTK parametrization.
        shift: s_b²·v_b, its σ_b².
        weight_learning: s²·fan_in, the part of Θ from the layer's weights for a unit of Σ; 0 if they are frozen.
        bias_learning: s_b², the part from its biases; 0 if there are none or they are frozen.
    """

    gain: float
    shift: float
    weight_learning: float
    bias_learning: float

    def apply(self, mean: Moments, with_ntk: bool) -> Moments:
        """Σ and Θ of the layer's output, from their averages over its inputs."""
        nngp, ntk = mean
        out = _affine(nngp, self.gain, self.shift)
        if not with_ntk or (ntk is None and not self.weight_learning and not self.bias_learning):
            return Moments(out, None)
        if ntk is not None and (self.gain, self.shift) == (self.weight_learning, self.bias_learning):
            return Moments(out, torch.add(out, ntk, alpha=self.gain))
        learned = _affine(nngp, self.weight_learning, self.bias_learning)
        return Moments(out, learned if ntk is None else learned.add_(ntk, alpha=self.gain))


def _affine(x: Tensor, gain: float, shift: float) -> Tensor:
    """gain·x + shift in a new tensor."""
    return x * gain + shift if shift else x * gain


def average(state: State, shares: tuple[float, ...]) -> Moments:
    """Mean over all channels of fields that hold the given shares of them."""
    if len(state) == 1:
        return state[0]
    nngp = sum_of([m.nngp * share for m, share in zip(state, shares, strict=True)])
    parts = [m.ntk * share for m, share in zip(state, shares, strict=True) if m.ntk is not None]
    return Moments(nngp, sum_of(parts) if parts else None)


def sum_of(tensors: list[Tensor]) -> Tensor:
    """Sum of at least one tensor."""
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


def coefficients_of(call: Call, layer: nn.Module) -> Coefficients:
    """Coefficients of a dense layer inside a module that is one step."""
    name, weight, bias = layer_parameters(call, layer.weight, layer.bias)
    return layer_coefficients(call, name, weight, bias, layer)


def layer_coefficients(
    call: Call,
    layer: str,
    weight: Tensor,
    bias: Tensor | None,
    module: object,
    drawn: Tensor | None = None,
    fan_in: int | None = None,
    default: float | None = None,
) -> Coefficients:
    """How a layer maps kernels.

    Args:
        call: the step.
        layer: its name.
        weight: its parameter.
        bias: the other one, or None.
        module: may declare the initialization.
        drawn: the weight in the order of axes in which its initialization counts fan-in and fan-out,
            [out, in, ...]; as it is if not given.
        fan_in: how many inputs add up in an output; as many as the weights of the first one drawn if not given.
        default: standard deviation of PyTorch's default for this layer, if not 1/√(3·fan_in).
    """
    declared = getattr(module, "initialization", None)
    drawn = weight if drawn is None else drawn
    given = find_initialization(layer, drawn, bias, call.initializations, declared, default)
    per_weight = given.weight_scale**2 * (drawn[0].numel() if fan_in is None else fan_in)
    per_bias = given.bias_scale**2 if bias is not None else 0.0
    return Coefficients(
        per_weight * given.weight_std**2,
        per_bias * given.bias_std**2,
        per_weight if weight.requires_grad else 0.0,
        per_bias if bias is not None and bias.requires_grad else 0.0,
    )


def layer_parameters(call: Call, weight: object, bias: object) -> tuple[str, Tensor, Tensor | None]:
    """The layer's name, weight and bias; every layer is used once.

    Raises:
        ModelError: if the weight is no parameter, or has been used before.
    """
    if not isinstance(weight, Tensor) or not (id(weight) in call.names or call.is_module):
        raise call.refusal(
            "multiplies by something that is not a parameter; only layers with weights drawn at random have a "
            "limit"
        )
    name = call.names.get(id(weight), call.name)
    layer = name.removesuffix(".weight")  # other names stand for themselves: a module may have several of its own
    for parameter in (weight, bias):
        if isinstance(parameter, Tensor):
            use_once(call, parameter)
    _refuse_equal_weights(call, layer, weight)
    return layer, weight, bias if isinstance(bias, Tensor) else None


def use_once(call: Call, parameter: Tensor) -> str:
    """Note that a parameter is used, and give its name.

    Raises:
        ModelError: if it has been used before.
    """
    if id(parameter) in call.used:
        raise call.refusal(
            f"uses the weights of {call.used[id(parameter)]} a second time; with tied weights the layers are "
            "correlated and no recursion is known. Use separate layers, nn.RNN for a recurrent network, or "
            "infinite_width_monte_carlo"
        )
    call.used[id(parameter)] = call.place
    return call.names.get(id(parameter), call.name)


def _refuse_equal_weights(call: Call, layer: str, weight: Tensor) -> None:
    """Copies of a layer that start with the same values are as correlated as one layer used twice."""
    for place, other in call.weights.items():
        if other.shape == weight.shape and _first_row_equal(other, weight) and torch.equal(other, weight):
            raise call.refusal(
                f"starts with exactly the weights of {place!r}; the two are correlated and no recursion is known. "
                "For the difference of two equal networks use ntkgap.models.Antisymmetric"
            )
    call.weights[layer] = weight


def _first_row_equal(a: Tensor, b: Tensor) -> bool:
    return bool(a[0].any()) and torch.equal(a[0], b[0])  # zeros draw nothing and share nothing


def layer_input(call: Call, argument: object, channel_axis: int) -> Random:
    """What a layer acts on, as a signal with channels along an axis if it is a function of the input.

    Raises:
        ModelError: if it is a constant.
    """
    if isinstance(argument, Data):
        return call.lift(argument, channel_axis)
    if not isinstance(argument, Random):
        raise call.refusal("is applied to a constant, not to the input")
    return argument


def shares_of(signal: Signal) -> tuple[float, ...]:
    """The fraction of the channels that every field has."""
    return tuple(field.channels / signal.channels for field in signal.fields)


def gaussian_output(call: Call, layout: Layout, channels: int) -> Signal:
    """What a layer of fresh weights puts out."""
    return Signal(layout, (Field(channels, gaussian=True, zero_mean=True, sources=frozenset({call.place})),))
