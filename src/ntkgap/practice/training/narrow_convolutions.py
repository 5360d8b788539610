"""Convolutions whose float32 gradients oneDNN, torch's library on CPUs, gets wrong.

The gradient of the weights of a 1×1 convolution with a stride and without padding writes past its buffer where
pixels come channels last and channels are fewer than a vector register has numbers: gradients are wrong, or the
process dies or hangs. Seen in oneDNN 3.12 (torch 2.13); https://github.com/uxlfoundation/oneDNN/issues/6035.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from ntkgap.errors import ModelError
from ntkgap.models import ScaledConv2d

# Channels below which it happens, by what torch calls the instruction set.
LEAST_CHANNELS = {"AVX2": 8, "AVX512": 16}


@contextmanager
def refusing_narrow_convolutions(model: nn.Module) -> Iterator[None]:
    """Refuse such convolutions, and inputs of theirs, in calls of the network.

    ``ScaledConv2d``, and so every network of ``ntkgap.models``, computes them in another way, which is safe.

    Raises:
        ModelError: when the network is called, naming the layer and the remedy.
    """
    handles = [
        module.register_forward_pre_hook(partial(_refuse, name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and not isinstance(module, ScaledConv2d) and _is_narrow(module)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_narrow(layer: nn.Conv2d) -> bool:
    geometry = layer.kernel_size == (1, 1) and layer.stride != (1, 1) and layer.padding in ((0, 0), "valid")
    least = LEAST_CHANNELS.get(torch.backends.cpu.get_cpu_capability(), 0)
    return geometry and layer.groups == 1 and layer.in_channels < least


def _refuse(name: str, layer: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
    if not inputs or inputs[0].ndim != 4 or inputs[0].dtype != torch.float32 or inputs[0].device.type != "cpu":
        return
    # A 1×1 weight in the usual order has stride 1 on its last axis too.
    weight_last = layer.in_channels > 1 and layer.weight.stride(3) == layer.in_channels
    pixels_last = inputs[0].stride(1) == 1 and inputs[0].shape[2:].numel() > 1
    if pixels_last or weight_last:
        what = "its input" if pixels_last else "its weight"
        raise ModelError(
            f"{name or 'the network'!r} is a 1x1 convolution with stride {layer.stride} of {layer.in_channels} "
            f"channels and {what} lies channels last in memory: on this CPU its gradients in float32 are wrong "
            "(oneDNN issue 6035). Begin its forward with x = x.clone(memory_format=torch.contiguous_format) and "
            "keep the weight so, use ntkgap.models.ScaledConv2d, or train in float64"
        )
