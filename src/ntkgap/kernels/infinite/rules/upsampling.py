"""Interpolation of images: a linear map of the positions of every axis, found by interpolating an identity."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.kernels.infinite.rules.base import Call, Compiled, rule
from ntkgap.kernels.infinite.rules.convolution import channels_first
from ntkgap.kernels.infinite.rules.position_maps import mapped


@rule(nn.Upsample, F.interpolate, F.upsample)
def upsample(call: Call) -> Compiled:
    """Every mode of torch's: all of them are products of one map an axis."""
    source = channels_first(call, call.input, call.input.value.ndim - 2)
    layout = source.layout
    matrices = {}
    for i, (axis, size) in enumerate(zip(layout.position_axes, layout.positions, strict=True)):
        # A picture for every place of this axis: 1 there, whatever the place on the others.
        shape = [1] * len(layout.positions)
        shape[i] = size
        places = torch.eye(size, dtype=torch.float64).view(size, 1, *shape).expand(size, 1, *layout.positions)
        along = _interpolated(call, places.contiguous()).movedim(i + 2, 1)
        matrices[axis] = along.reshape(size, along.shape[1], -1)[..., 0].T.contiguous()
    return mapped(call, source, matrices, kept=True)


def _interpolated(call: Call, x: Tensor) -> Tensor:
    if call.is_module:
        return call.target(x)
    options = {name: value for name, value in call.kwargs.items() if name != "input"}
    return call.target(x, *call.args[1:], **options)
