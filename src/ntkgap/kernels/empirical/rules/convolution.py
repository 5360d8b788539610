"""Convolutions and transposed convolutions in one, two and three dimensions."""

from collections.abc import Callable

import torch
from torch import Tensor

from ntkgap.kernels.empirical.factors import Factor, Outer, Patches, Rows
from ntkgap.kernels.empirical.parts import Part
from ntkgap.kernels.empirical.rules.base import Batch, Call, Rule, named, roles_of


def _tuple(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dims if len(values) == 1 else values


class Convolution(Rule):
    """A linear map applied to every patch. Paddings other than with zeros happen before, in ``F.pad``."""

    name = "convolution"
    functions: tuple[Callable, ...] = (torch.conv1d, torch.conv2d, torch.conv3d)
    arguments: tuple[str, ...] = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")

    def record(self, parts: dict[int, Part], args: tuple, kwargs: dict) -> Call | None:
        """Note the input and the geometry; unbatched inputs are left to the fallback."""
        given = named(self.arguments, args, kwargs)
        x, weight = given["input"], given["weight"]
        dims = weight.ndim - 2
        if id(x) in parts or x.ndim != dims + 2:
            return None
        window = tuple(weight.shape[2:])
        dilation = _tuple(given.get("dilation", 1), dims)
        padding = given.get("padding", 0)
        if padding == "same":
            totals = [d * (w - 1) for d, w in zip(dilation, window, strict=True)]
            pads = tuple((total // 2, total - total // 2) for total in totals)
        else:
            pads = tuple((p, p) for p in _tuple(0 if padding == "valid" else padding, dims))
        options = {
            "window": window,
            "stride": _tuple(given.get("stride", 1), dims),
            "padding": pads,
            "dilation": dilation,
            "groups": given.get("groups", 1),
        }
        roles = roles_of(parts, given, "weight", "bias")
        return Call(self, (x,) if "weight" in roles else (), roles, options)

    def factors(self, call: Call, grad: Tensor, batch: Batch) -> dict[str, Factor]:
        """Gradient pixels times input patches."""
        g = batch.first(grad, lead=1)  # [C, n, r, channels, *pixels]
        out: dict[str, Factor] = {}
        if "weight" in call.roles:
            out["weight"] = self._weight(call, g, batch.first(call.inputs[0]))
        if "bias" in call.roles:
            out["bias"] = Rows(g.flatten(4).sum((2, 4)))
        return out

    def _weight(self, call: Call, g: Tensor, x: Tensor) -> Outer:
        return Outer(_pixels(g, call.options["groups"], len(call.options["window"])), Patches(x, **call.options))


class TransposedConvolution(Convolution):
    """The adjoint of a convolution: input pixels times patches of the output's gradient."""

    name = "transposed convolution"
    functions: tuple[Callable, ...] = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
    arguments: tuple[str, ...] = (
        "input",
        "weight",
        "bias",
        "stride",
        "padding",
        "output_padding",
        "groups",
        "dilation",
    )

    def _weight(self, call: Call, g: Tensor, x: Tensor) -> Outer:
        pixels = x.shape[3:]
        patches = Patches(g, **call.options)
        if patches.pixels != tuple(pixels):
            # output_padding can make room for one more window, which no input pixel fills: cut it off.
            for axis, (p, step) in enumerate(zip(pixels, patches.stride, strict=True), start=4):
                surplus = (patches.pixels[axis - 4] - p) * step
                g = g.narrow(axis, 0, g.shape[axis] - surplus)
            patches = Patches(g, **call.options)
        return Outer(patches, _pixels(x, patches.groups, len(pixels)), flipped=True)


def _pixels(x: Tensor, groups: int, dims: int) -> Tensor:
    """[*lead, r, channels, *pixels] -> [*lead, groups, S, channels / groups]; a view where r = 1."""
    images, channels = -dims - 2, -dims - 1
    x = x.movedim(images, channels).unflatten(channels - 1, (groups, -1))  # [*lead, groups, c, r, *pixels]
    return x.flatten(-dims - 1).mT


RULES = (Convolution(), TransposedConvolution())
