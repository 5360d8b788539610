"""Dense layers: Σ ← σ_w² 𝒜(Σ) + σ_b², 𝒜 the identity, or the mean over positions that are folded into features."""

from dataclasses import dataclass

from torch import nn
from torch.nn import functional as F

from ntkgap.kernels.infinite.pairs import Tile
from ntkgap.kernels.infinite.rules.base import (
    Call,
    Compiled,
    Data,
    Operation,
    Random,
    State,
    require_batch_first,
    rule,
)
from ntkgap.kernels.infinite.rules.weights import (
    Coefficients,
    average,
    gaussian_output,
    layer_coefficients,
    layer_input,
    layer_parameters,
    shares_of,
)
from ntkgap.kernels.infinite.signals import Layout
from ntkgap.models.layers import ScaledLinear
from ntkgap.models.shallow import SignReadout


@dataclass(frozen=True)
class Dense(Operation):
    """A dense layer, on the channels alone or on channels × positions."""

    coefficients: Coefficients
    shares: tuple[float, ...]
    positions: int  # folded into the features
    scales = "averaged"

    def wants_position_pairs(self, wanted: bool) -> bool:
        """Folded positions meet only themselves."""
        return wanted and not self.positions

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Average over the fields and the folded positions."""
        mean = average(states[0], self.shares)
        if self.positions:
            mean = mean.map(lambda k: k.mean(dim=tuple(range(self.positions))))
        return [self.coefficients.apply(mean, at.with_ntk)]


@rule(nn.Linear, ScaledLinear, SignReadout, F.linear, any_batch_axis=True, layer=True)
def dense(call: Call) -> Compiled:
    """A dense layer acts on the last axis of its input."""
    if call.is_module:
        weight, bias = call.target.weight, call.target.bias
        argument = call.bind("input")["input"]
    else:
        given = call.bind("input", "weight", "bias", bias=None)
        weight, bias, argument = given["weight"], given["bias"], given["input"]
    return dense_of(call, argument, weight, bias)


def dense_of(call: Call, argument: object, weight: object, bias: object, transposed: bool = False) -> Compiled:
    """A dense layer of given parameters.

    Args:
        call: the step.
        argument: what it acts on.
        weight: [out, in], or [in, out] if ``transposed``.
        bias: [out], or None.
        transposed: whether the layer is x @ W, not x @ Wᵀ.

    Raises:
        ModelError: if the weights are none, or used before, or the channels are not on the last axis.
    """
    layer, parameter, offsets = layer_parameters(call, weight, bias)
    drawn = parameter.mT if transposed else parameter
    last = argument.value.ndim - 1 if isinstance(argument, Data | Random) else 1
    source = layer_input(call, argument, last)
    layout = source.layout
    if layout.batch_axis == last:
        require_batch_first(call, [layout])
    if layout.channel_axis != last:
        raise call.refusal(
            f"acts on the last axis of a tensor whose channels are on axis {layout.channel_axis} "
            f"(shape {('n', *source.value.shape[1:])}): put the channels last with movedim, or flatten first"
        )
    folded = len(layout.positions) if layout.flat else 0
    coefficients = layer_coefficients(call, layer, parameter, offsets, call.target, drawn)
    operation = Dense(coefficients, shares_of(source.signal), folded)
    out = Layout((), 1) if layout.flat else layout
    return Compiled(operation, [source], gaussian_output(call, out, len(drawn)))
