"""The patches that a convolution sees, laid out only when and as far as they are needed."""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F


@dataclass
class Patches:
    """Windows into x [*lead, r, channels, *pixels], r images belonging to one example.

    Stands for a tensor [*lead, groups, S, d] with S = r · (windows of one image) positions and
    d = (channels / groups) · (entries of a window).
    """

    x: Tensor
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def pixels(self) -> tuple[int, ...]:
        """Windows along each pixel axis."""
        sizes = self.x.shape[-len(self.window) :]
        spans = [d * (w - 1) + 1 for d, w in zip(self.dilation, self.window, strict=True)]
        return tuple(
            (size + sum(pad) - span) // stride + 1
            for size, pad, span, stride in zip(sizes, self.padding, spans, self.stride, strict=True)
        )

    @property
    def channels(self) -> int:
        """Channels of one group."""
        return self.x.shape[-len(self.window) - 1] // self.groups

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor that the patches stand for."""
        *lead, images = self.x.shape[: -len(self.window) - 1]
        return (*lead, self.groups, images * math.prod(self.pixels), self.channels * math.prod(self.window))

    def dense(self, channels: slice = slice(None)) -> Tensor:
        """The patches of some channels of every group, [*lead, groups, S, d]; stored with S last."""
        dims, lead = len(self.window), self.x.ndim - len(self.window) - 2
        x = self.x.unflatten(lead + 1, (self.groups, self.channels)).narrow(
            lead + 2, *_start_and_length(channels, self.channels)
        )
        if any(map(any, self.padding)):
            x = F.pad(x, [p for pair in reversed(self.padding) for p in pair])
        for axis, (width, stride, dilation) in enumerate(
            zip(self.window, self.stride, self.dilation, strict=True), start=lead + 3
        ):
            x = x.unfold(axis, dilation * (width - 1) + 1, stride)[..., ::dilation]
        # [*lead, r, groups, channels, *pixels, *window] -> [*lead, groups, channels, *window, r, *pixels]
        order = [*range(lead), lead + 1, lead + 2, *range(lead + 3 + dims, lead + 3 + 2 * dims), lead]
        x = x.permute(*order, *range(lead + 3, lead + 3 + dims))
        return x.flatten(lead + 2 + dims).flatten(lead + 1, lead + 1 + dims).mT


def _start_and_length(some: slice, size: int) -> tuple[int, int]:
    start, stop, _ = some.indices(size)
    return start, stop - start


def columns(tensor: Tensor | Patches, lo: int, hi: int) -> Tensor:
    """Features lo:hi of [..., S, d]; patches are laid out for whole channels only, and cut."""
    if not isinstance(tensor, Patches):
        return tensor[..., lo:hi]
    area = math.prod(tensor.window)
    first, last = lo // area, -(-hi // area)
    laid_out = tensor.dense(slice(first, last))
    return laid_out[..., lo - first * area : hi - first * area]
