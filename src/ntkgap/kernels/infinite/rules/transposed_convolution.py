r"""Transposed convolutions: zeros put between the positions, then a convolution of stride 1.

.. math:: y_o = \sum_a W_a^\top x_i, \quad o = i \cdot \text{stride} + a \cdot \text{dilation} - \text{padding}

Each of the weights W_a [in, out] is drawn once, so Σ(o, o') = s²v·in·Σ_a Σ(i(o, a), i(o', a)) over the taps that
meet an input on both sides: how many do differs from position to position.

Source: Dumoulin, Visin 2016, *A guide to convolution arithmetic for deep learning*, section 4, for the zeros.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.kernels.infinite.rules.base import Call, Compiled, rule
from ntkgap.kernels.infinite.rules.convolution import Convolution, channels_first, each
from ntkgap.kernels.infinite.rules.weights import (
    gaussian_output,
    layer_coefficients,
    layer_input,
    layer_parameters,
    shares_of,
)
from ntkgap.kernels.infinite.signals import Layout


@dataclass(frozen=True)
class TransposedConvolution(Convolution):
    """A convolution of stride 1 behind zeros that put neighbors a stride apart."""

    strides: tuple[int, ...]

    def over_receptive_field(self, k: Tensor, pairs: bool) -> Tensor:
        """Kernels are zero where either position is new."""
        strides = self.strides * (2 if pairs else 1)
        shape = [(size - 1) * stride + 1 for size, stride in zip(k.shape, strides, strict=False)]
        stuffed = k.new_zeros(*shape, *k.shape[len(strides) :])
        stuffed[tuple(slice(None, None, stride) for stride in strides)] = k
        return super().over_receptive_field(stuffed, pairs)


@rule(
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    layer=True,
)
def transposed_convolution(call: Call) -> Compiled:
    """A transposed convolution acts on channels first."""
    names = ("stride", "padding", "output_padding", "groups", "dilation")
    if call.is_module:
        given = call.bind("input") | call.module_arguments("weight", "bias", *names)
    else:
        defaults = {"bias": None, "stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
        given = call.bind("input", "weight", "bias", *names, **defaults)
    if given["groups"] != 1:
        raise call.refusal(f"has groups={given['groups']}; grouped convolutions are not supported, use groups=1")
    layer, weight, bias = layer_parameters(call, given["weight"], given["bias"])
    source = channels_first(call, layer_input(call, given["input"], 1), weight.ndim - 2)
    sizes, out_sizes = source.layout.positions, tuple(call.value.shape[2:])
    dims = len(sizes)
    strides, paddings, dilations = (each(given[name], dims) for name in ("stride", "padding", "dilation"))
    walks = []
    for size, out, kernel, stride, padding, dilation in zip(
        sizes, out_sizes, weight.shape[2:], strides, paddings, dilations, strict=True
    ):
        reach = dilation * (kernel - 1)
        stuffed = (size - 1) * stride + 1
        # What torch calls output_padding, or an output_size that was asked for, is whatever comes behind.
        walks.append((kernel, 1, (reach - padding, out - stuffed + padding), dilation))
    # Initializers take the second axis for the inputs, so theirs is another fan-in than the number of summands.
    coefficients = layer_coefficients(call, layer, weight, bias, call.target, fan_in=weight[:, 0].numel())
    operation = TransposedConvolution(coefficients, shares_of(source.signal), tuple(walks), "zeros", strides)
    return Compiled(operation, [source], gaussian_output(call, Layout(out_sizes, 1), weight.shape[1]))
